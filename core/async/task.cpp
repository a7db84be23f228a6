#include "core/async/task.hpp"

namespace vmferry {

Task<Result<>> settle(Task<> body) {
  try {
    co_await std::move(body);
    co_return Result<>();
  } catch (...) {
    co_return Result<>(std::unexpect, current_error());
  }
}

}  // namespace vmferry
