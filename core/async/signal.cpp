#include "core/async/signal.hpp"

#include <asio/experimental/as_tuple.hpp>

namespace vmferry {

Task<> Signal::wait() {
  // "aborted" is how a notify looks; a real cancellation throws at the next co_await.
  co_await timer_.async_wait(asio::experimental::as_tuple(asio::use_awaitable));
}

void Stop::request(std::string why) {
  if (times_++ == 0) why_ = std::move(why);
  signal_.notify();
}

Task<> Stop::wait() {
  while (times_ == 0) co_await signal_.wait();
}

}  // namespace vmferry
