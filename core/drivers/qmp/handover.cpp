#include "core/drivers/qmp/handover.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/text.hpp"
#include "core/base/units.hpp"
#include "core/drivers/qmp/option_value.hpp"

namespace vmferry::qmp {

namespace {

// Since 8.1 x-ignore-shared leaves out only memory that has a file (RAM_NAMED_FILE).
constexpr std::uint64_t kOnlyFiles = 8001000;
// Since 10.0 there is cpr-transfer, for guests that were started with aux-ram-share=on.
constexpr std::uint64_t kCpr = 10000000;

std::uint64_t file_size(int fd) {
  struct stat info{};
  return ::fstat(fd, &info) == 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
}

Fd open_memory(const std::string& path) { return Fd(::open(path.c_str(), O_RDWR | O_CLOEXEC)); }

std::string link_of(const std::string& path) {
  char target[4096];
  const ssize_t n = ::readlink(path.c_str(), target, sizeof target);
  return {target, n > 0 ? static_cast<std::size_t>(n) : 0};
}

// The one file that a process has open whose link begins so and that is that big: two of them
// could be taken for each other.
Result<Fd> only_open_file(const ProcessId& id, std::string_view link, std::uint64_t bytes) {
  Fd found;
  struct stat first{};
  const std::string dir = fmt::format("/proc/{}/fd", id.pid);
  for (const std::string& name : entries(dir)) {
    if (!link_of(dir + "/" + name).starts_with(link)) continue;
    Fd fd = open_memory(dir + "/" + name);
    struct stat info{};
    if (!fd || ::fstat(fd.get(), &info) != 0 || file_size(fd.get()) != bytes) continue;
    if (found && (info.st_ino != first.st_ino || info.st_dev != first.st_dev))
      return fail(ErrorId::unsupported, "it has several files of this size open");
    first = info;
    found = std::move(fd);
  }
  if (!found) return fail(ErrorId::unsupported, "it cannot be opened through /proc");
  return found;
}

// Anonymous shared memory has no descriptor, only its mapping; to open that needs CAP_SYS_ADMIN.
Result<Fd> only_mapping(const ProcessId& id, std::uint64_t bytes) {
  std::string range;
  const auto maps = read_file(fmt::format("/proc/{}/maps", id.pid), std::size_t{16} << 20);
  for (const std::string_view line : split(maps.value_or(""), '\n')) {
    const std::string_view span = line.substr(0, line.find(' '));
    const std::size_t dash = span.find('-');
    if (dash == std::string_view::npos || !line.ends_with("/dev/zero (deleted)")) continue;
    const auto from = parse_number<std::uint64_t>(span.substr(0, dash), 16);
    const auto to = parse_number<std::uint64_t>(span.substr(dash + 1), 16);
    if (!from || !to || *to - *from != bytes) continue;
    if (!range.empty()) return fail(ErrorId::unsupported, "it has several mappings of this size");
    range = span;
  }
  if (range.empty()) return fail(ErrorId::unsupported, "its mapping is not found");
  Fd fd = open_memory(fmt::format("/proc/{}/map_files/{}", id.pid, range));
  if (!fd) return fail(ErrorId::denied, "only root can open its mapping");
  return fd;
}

class Plan {
 public:
  Plan(const Instance& running, const Words& argv, std::uint64_t version)
      : running_(running), version_(version) {
    out_.argv = argv;
  }

  Result<Handover> run() {
    // What vmferry made itself; its name tells the architecture, whatever the new program is
    // called.
    const Ram ram = ram_of(running_.argv);
    if (running_.shared_ram != 0) {
      std::optional<Fd> memory = memory_of(running_.process, kMemoryName, running_.shared_ram);
      out_.bytes = running_.shared_ram;
      out_.whole = out_.any = memory.has_value();
      if (!memory) {
        out_.copied_because = "the running process may not be looked into";
        memory = make_memory(kMemoryName, out_.bytes);
      }
      out_.memory = *std::move(memory);
      return std::move(out_);
    }
    if (ram.own.empty()) {
      out_.bytes = ram.bytes;
      out_.memory = make_memory(kMemoryName, ram.bytes);
      out_.copied_because =
          "the guest was not started with memory that can be handed over; the next time it has";
      return std::move(out_);
    }
    return backends(ram.own);
  }

 private:
  Result<Handover> backends(const std::string& own) {
    std::size_t shared = 0, all = 0, marked = 0;
    for (std::size_t i = 1; i + 1 < out_.argv.size(); ++i) {
      OptionValue object(out_.argv[i + 1]);
      const bool backend =
          option_name(out_.argv[i]) == "object" && object.kind().starts_with("memory-backend-");
      if (!backend) continue;
      ++all;
      if (!object.on("share")) continue;
      ++marked;
      Result<> done = take(object);
      if (done) {
        ++shared;
        out_.argv[i + 1] = object.text();
      } else if (object.kind() == "memory-backend-file") {
        // A copy into the same file would overwrite the memory of the running guest.
        return std::unexpected(std::move(done).error());
      } else {
        reasons_.push_back(done.error().message);
      }
    }
    out_.whole = all != 0 && shared == all;
    out_.any = shared != 0;
    if (out_.whole) return std::move(out_);
    out_.by_cpr = version_ >= kCpr && has_aux_ram_share() && marked == all && all != 0;
    out_.copied_because =
        reasons_.empty()
            ? "the guest's memory is its own: " + own +
                  "; with share=on at its memory backend it need not be"
            : joined(reasons_, "; ") + "; with memory-backend-file,share=on it need not be";
    return std::move(out_);
  }

  bool has_aux_ram_share() const {
    for (std::size_t i = 1; i + 1 < out_.argv.size(); ++i) {
      const std::string_view option = option_name(out_.argv[i]);
      const bool machine = option == "machine" || option == "M";
      if (machine && OptionValue(out_.argv[i + 1]).on("aux-ram-share")) return true;
    }
    return false;
  }

  Result<> take(OptionValue& object) {
    const std::string id = object.get("id").value_or("");
    const std::uint64_t bytes = parse_size(object.get("size").value_or(""), 1).value_or(0);
    Result<Fd> fd = fail(ErrorId::unsupported, "is of an unknown kind");
    if (object.kind() == "memory-backend-file") {
      const std::string path = object.get("mem-path").value_or("");
      if (present(path)) return {};
      fd = file(path, bytes);
    } else if (version_ >= kOnlyFiles) {
      fd = fail(ErrorId::unsupported, "this QEMU hands over only memory-backend-file");
    } else if (object.kind() == "memory-backend-memfd") {
      fd = only_open_file(running_.process, "/memfd:memory-backend-memfd", bytes);
    } else if (object.kind() == "memory-backend-ram") {
      fd = only_mapping(running_.process, bytes);
    }
    if (!fd)
      return std::unexpected(
          Error(fd.error().id, fmt::format("memory {}: {}", escaped(id, 100), fd.error().message)));
    become_file(object, id, *std::move(fd));
    return {};
  }

  static bool present(const std::string& path) {
    struct stat info{};
    const bool of_process = path.starts_with("/proc/") || path.starts_with("/dev/fd/");
    return !of_process && ::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
  }

  // Removed since, made without a name in a directory, or a descriptor of the running process.
  Result<Fd> file(const std::string& path, std::uint64_t bytes) const {
    for (const std::string_view prefix : {"/proc/self/fd/", "/dev/fd/"}) {
      const auto number = path.starts_with(prefix)
                              ? parse_number<int>(std::string_view(path).substr(prefix.size()))
                              : std::nullopt;
      if (!number) continue;
      Fd fd = open_memory(fmt::format("/proc/{}/fd/{}", running_.process.pid, *number));
      if (!fd || file_size(fd.get()) != bytes)
        return fail(ErrorId::unsupported, "its descriptor cannot be opened through /proc");
      return fd;
    }
    return only_open_file(running_.process, path, bytes);
  }

  void become_file(OptionValue& object, const std::string& id, Fd fd) {
    OptionValue made("memory-backend-file");
    for (const char* key : {"id", "size", "share", "prealloc", "dump", "merge", "host-nodes",
                            "policy", "prealloc-threads"})
      if (const auto value = object.get(key)) made.set(key, *value);
    made.set("id", id);
    made.set("mem-path", fmt::format("/proc/self/fd/{}", fd.get()));
    object = made;
    out_.inherited.push_back(std::move(fd));
  }

  const Instance& running_;
  std::uint64_t version_;
  Handover out_;
  std::vector<std::string> reasons_;
};

}  // namespace

Result<Handover> hand_over(const Instance& running, const Words& argv, std::uint64_t version) {
  return Plan(running, argv, version).run();
}

}  // namespace vmferry::qmp
