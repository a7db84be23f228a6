#include "core/base/error.hpp"

#include <array>
#include <cerrno>
#include <system_error>

namespace vmferry {

static constexpr auto kEntries = std::to_array<ErrorEntry>({
#define VMFERRY_ERROR(name, id, exit, summary, causes, remedy) \
  {id, Exit::exit, summary, causes, remedy},
#include "core/base/errors.def"
#undef VMFERRY_ERROR
});

const ErrorEntry& entry(ErrorId id) { return kEntries.at(static_cast<std::size_t>(id)); }
std::span<const ErrorEntry> error_entries() { return kEntries; }

std::string_view name(Side side) {
  static constexpr std::string_view names[] = {"", "client", "source", "destination", "network"};
  return names[static_cast<std::size_t>(side)];
}

Error current_error() noexcept {
  try {
    throw;
  } catch (const Error& e) {
    return e;
  } catch (const std::system_error& e) {
    // Asio's own category of system errors does not map to std::errc.
    const bool asio = std::string_view(e.code().category().name()) == "asio.system";
    const bool stopped =
        e.code() == std::errc::operation_canceled || (asio && e.code().value() == ECANCELED);
    return {stopped ? ErrorId::cancelled : ErrorId::io, e.code().message()};
  } catch (const std::exception& e) {
    return {ErrorId::internal, e.what()};
  } catch (...) {
    return {ErrorId::internal, "an exception of unknown type"};
  }
}

}  // namespace vmferry
