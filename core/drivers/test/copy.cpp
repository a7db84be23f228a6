// Pre-copy rounds, the switch, and post-copy.
#include <fmt/format.h>

#include <algorithm>

#include "core/drivers/test/path.hpp"
#include "core/drivers/test/test_host.hpp"

namespace vmferry::sim {

namespace {

using namespace std::chrono_literals;
constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::size_t kTunnelChunk = 65536;  // libvirt's daemons pump a tunnel in such pieces

std::uint64_t number(const Params& params, std::string_view field) {
  if (const auto* u = params.get<std::uint64_t>(field)) return *u;
  if (const auto* i = params.get<std::int32_t>(field)) return static_cast<std::uint64_t>(*i);
  return 0;
}

Method method_of(const PhaseCall& call) {
  const auto* name = call.params.get<std::string>("compression");
  if (!name) return call.flags.has(Flag::compressed) ? Method::xbzrle : Method::none;
  if (*name == "xbzrle") return Method::xbzrle;
  // The simulation deflates whatever the method is called.
  if (*name == "mt" || *name == "zlib" || *name == "zstd") return Method::zlib;
  throw refusal(ErrorId::unsupported, 74,
                fmt::format("this host cannot compress with '{}'", *name));
}

int level_of(const Params& params) {
  for (const char* field :
       {"compression.zlib.level", "compression.zstd.level", "compression.mt.level"})
    if (params.has(field))
      return static_cast<int>(std::min<std::uint64_t>(number(params, field), 9));
  return 1;
}

// How much of a guest's memory a second the threads of mt can pack and unpack. 0: no limit.
std::uint64_t squeezing(const Params& params) {
  constexpr std::uint64_t packed = 32 * kMiB, unpacked = 128 * kMiB;  // by one thread
  const auto* name = params.get<std::string>("compression");
  if (!name || *name != "mt") return 0;
  const auto threads = [&](std::string_view field, std::uint64_t usual) {
    return params.has(field) ? std::max<std::uint64_t>(number(params, field), 1) : usual;
  };
  return std::min(packed * threads("compression.mt.threads", 8),
                  unpacked * threads("compression.mt.dthreads", 2));  // as many as QEMU has
}

class Copy {
 public:
  Copy(World& world, HostState& source, std::shared_ptr<Guest> guest, std::shared_ptr<OutJob> job,
       const PhaseCall& call, std::uint8_t version, std::unique_ptr<Stream> tunnel)
      : tunnel_(std::move(tunnel)),
        world_(world),
        source_(source),
        guest_(std::move(guest)),
        job_(std::move(job)),
        call_(call),
        version_(version),
        packer_(method_of(call), level_of(call.params), cached_pages(*guest_, call)),
        squeezing_(squeezing(call.params)) {}

  Task<> run() {
    co_await connect();
    start();
    co_await wait(rtt());
    if (call_.flags.has(Flag::rdma_pin_all)) co_await wait(pinning());
    figures().setup = world_.now() - figures().started;
    if (copies_storage()) co_await send_disks();
    if (!call_.flags.has(Flag::live) && running()) stop_cpus();
    const Bytes header = packer_.header(guest_->spec.shape, version_);
    co_await path_->deliver(header);
    co_await rounds();
    if (!job_->postcopy) co_await last_round();
  }

 private:
  CopyFigures& figures() { return job_->figures; }
  bool running() const { return guest_->status.runs(); }
  Micros rtt() const { return 2 * world_.link().latency; }
  Micros pinning() const { return Micros(guest_->spec.memory_kib / 1024 * 100); }
  bool copies_storage() const {
    return call_.flags.has(Flag::non_shared_disk) || call_.flags.has(Flag::non_shared_inc);
  }

  static std::size_t cached_pages(const Guest& guest, const PhaseCall& call) {
    std::uint64_t bytes = number(call.params, "compression.xbzrle.cache");
    if (bytes == 0) bytes = guest.cache_bytes;
    const std::uint64_t page = guest.spec.memory_kib * 1024 / std::max(guest.spec.shape.pages, 1U);
    return bytes / std::max<std::uint64_t>(page, 1);
  }

  Task<> connect() {
    const auto ex = co_await asio::this_coro::executor;
    Leaving leaving{world_.shared_from_this(), guest_, job_, ex};
    if (tunnel_) {
      path_ = tunnel_path(std::move(leaving), std::move(tunnel_));
      co_return;
    }
    const auto* uri = call_.params.get<std::string>("migrate_uri");
    if (!uri) throw refusal(ErrorId::remote, 1, "no migration URI was given");
    const bool tls = call_.flags.has(Flag::tls);
    path_ = co_await open_path(std::move(leaving), *uri, tls);
    const HostState* const host = path_->destination();
    const auto* tls_name = call_.params.get<std::string>("tls.destination");
    if (tls && host && tls_name && *tls_name != host->spec.name)
      throw refusal(
          ErrorId::remote, 9,
          fmt::format("the certificate of {} is not for '{}'", host->spec.name, *tls_name));
  }

  void start() {
    if (const auto* uri = call_.params.get<std::string>("graphics_uri"))
      guest_->clients_sent_to = *uri;
    job_->postcopy_mib = number(call_.params, "bandwidth.postcopy");
    world_.advance(*guest_);
    guest_->memory.start_log();
    CopyFigures& f = figures();
    f.started = world_.now();
    f.page_bytes = guest_->spec.memory_kib * 1024 / guest_->spec.shape.pages;
    f.memory_total = guest_->spec.memory_kib * 1024;
    f.memory_remaining = f.memory_total;
    if (copies_storage())
      for (const GuestDisk& disk : guest_->spec.disks)
        if (wanted(disk)) f.disk_total += disk_bytes(disk);
    if (call_.flags.has(Flag::auto_converge))
      step_ = static_cast<int>(
          std::max<std::uint64_t>(number(call_.params, "auto_converge.increment"), 0));
  }

  bool wanted(const GuestDisk& disk) const {
    if (disk.readonly) return false;
    return !call_.params.has("migrate_disks") || said_of("migrate_disks", disk);
  }
  bool said_of(const char* field, const GuestDisk& disk) const {
    return std::ranges::any_of(call_.params.items, [&](const TypedParam& p) {
      const auto* name = std::get_if<std::string>(&p.value);
      return p.field == field && name && *name == disk.target;
    });
  }
  // Incremental: the base is there, the top layer is a quarter of the whole. A third of a disk is
  // zeroes, which need not be sent where they are looked for.
  std::uint64_t disk_bytes(const GuestDisk& disk) const {
    const std::uint64_t all = call_.flags.has(Flag::non_shared_inc) ? disk.bytes / 4 : disk.bytes;
    return said_of("migrate_disks_detect_zeroes", disk) ? all - all / 3 : all;
  }

  std::uint64_t rate() const {
    const Link& link = world_.link();
    std::uint64_t streams = 1;
    if (call_.flags.has(Flag::parallel))
      streams = call_.params.has("parallel.connections")
                    ? std::max<std::uint64_t>(number(call_.params, "parallel.connections"), 1)
                    : 2;
    std::uint64_t bytes = std::min(link.bytes_per_s, link.stream_bytes_per_s * streams);
    if (call_.flags.has(Flag::zerocopy)) bytes += bytes / 20;
    if (call_.flags.has(Flag::tunnelled)) bytes /= 2;  // through both daemons
    std::uint64_t limit = number(call_.params, "bandwidth");
    if (guest_->max_speed > 0) limit = guest_->max_speed;
    if (job_->postcopy) {
      limit = number(call_.params, "bandwidth.postcopy");
      if (guest_->max_speed_postcopy > 0) limit = guest_->max_speed_postcopy;
    }
    if (limit > 0) bytes = std::min(bytes, limit * kMiB);
    return std::max<std::uint64_t>(bytes, 1);
  }

  Task<> wait(Micros simulated) {
    const auto real = Micros(static_cast<std::int64_t>(static_cast<double>(simulated.count()) /
                                                       std::max(world_.speed, 1e-6)));
    co_await world_.clock().sleep(real);
    check();
  }

  // Whatever may have happened meanwhile.
  void check() {
    if (!job_->broken.empty()) throw refusal(ErrorId::remote, 9, job_->broken);
    if (job_->abort && !job_->postcopy)
      throw refusal(ErrorId::cancelled, 78,
                    "operation aborted: migration out job: canceled by client");
    path_->check();
    if (!world_.link().up)
      throw refusal(ErrorId::remote, 9, "the migration stream broke: timed out");
    if (guest_->io_error != 0 && call_.flags.has(Flag::abort_on_error))
      throw refusal(ErrorId::remote, 9, "a disk of the guest failed during the migration");
    world_.advance(*guest_);
  }

  std::uint64_t on_the_wire(std::uint64_t bytes) const {
    if (call_.flags.has(Flag::tls)) bytes += bytes / 500 + 29;  // records and their tags
    if (call_.flags.has(Flag::tunnelled)) bytes += (bytes / kTunnelChunk + 1) * 28;
    return bytes;
  }

  // When that much has passed the link, and the threads that compress.
  Micros due(std::uint64_t on_wire, std::uint64_t of_guest) const {
    const std::uint64_t sent = on_wire * 1000000 / rate();
    const std::uint64_t packed = squeezing_ == 0 ? 0 : of_guest * 1000000 / squeezing_;
    return Micros(static_cast<std::int64_t>(std::max(sent, packed)));
  }

  // Sends those pages at the link's rate, in slices short enough to stop within.
  Task<> send(const std::vector<std::uint32_t>& pages, bool cpus_stand) {
    const Micros slice = cpus_stand ? 20ms : 50ms;
    std::uint64_t owed = 0;
    std::uint64_t squeezed = 0;
    Bytes frames;
    CopyFigures& f = figures();
    std::size_t left = pages.size();
    for (const std::uint32_t number : pages) {
      const std::uint64_t before = f.compressed_pages;
      Bytes one = packer_.page(guest_->memory, number, f);
      squeezed += (f.compressed_pages - before) * f.page_bytes;
      const std::uint64_t cost = on_the_wire(weight(one, guest_->spec.shape, f.page_bytes));
      f.memory_sent += cost;
      f.normal_bytes = f.normal_pages * f.page_bytes;
      owed += cost;
      frames.insert(frames.end(), one.begin(), one.end());
      f.memory_remaining = --left * f.page_bytes;
      const Micros passed = due(owed, squeezed);
      if (passed < slice) continue;
      owed = squeezed = 0;
      f.bps = rate();
      co_await wait(passed);
      co_await path_->deliver(frames);
      frames.clear();
    }
    const Micros passed = due(owed, squeezed);
    f.bps = rate();
    co_await wait(passed + world_.link().latency);
    if (!frames.empty()) co_await path_->deliver(frames);
  }

  Task<> send_disks() {
    CopyFigures& f = figures();
    if (f.disk_total > 0) path_->check_disks();
    while (f.disk_sent < f.disk_total) {
      const std::uint64_t piece =
          std::min<std::uint64_t>(f.disk_total - f.disk_sent, rate() / 10 + 1);
      co_await wait(Micros(static_cast<std::int64_t>(piece * 1000000 / rate())));
      f.disk_sent += piece;
    }
    // A mirror that lags behind sends again what the guest wrote meanwhile.
    if (running() && !call_.flags.has(Flag::non_shared_synchronous_writes)) {
      const std::uint64_t again = f.disk_total / 20;
      co_await wait(Micros(static_cast<std::int64_t>(again * 1000000 / rate())));
      f.disk_sent += again;
      f.disk_total += again;
    }
  }

  Task<> rounds() {
    CopyFigures& f = figures();
    std::uint32_t before = guest_->spec.shape.pages;
    int slow = 0;
    for (;;) {
      ++f.iteration;
      DomainEvent told;
      told.kind = DomainEvent::Kind::iteration;
      told.domain = guest_->ref();
      told.iteration = static_cast<std::int32_t>(f.iteration);
      world_.emit(source_, told);
      if (job_->postcopy_wanted) {
        co_await postcopy();
        co_return;
      }
      const Micros began = world_.now();
      const auto pages = guest_->memory.take_dirty();
      co_await send(pages, !running());
      if (job_->postcopy_wanted) continue;
      const std::uint32_t dirty = guest_->memory.dirty_pages();
      const Micros took = std::max(world_.now() - began, Micros(1));
      f.dirty_rate = dirty * 1000000ULL / static_cast<std::uint64_t>(took.count());
      f.memory_remaining = dirty * f.page_bytes;
      if (!running() || expected_downtime() <= Micros(guest_->max_downtime_ms * 1000)) co_return;
      slow = dirty * 2 > before ? slow + 1 : 0;
      before = dirty;
      if (call_.flags.has(Flag::auto_converge) && slow >= 2) throttle();
    }
  }

  Micros expected_downtime() {
    std::uint64_t speed = rate();
    const std::uint64_t said = number(call_.params, "bandwidth.avail.switchover") * kMiB;
    if (said > 0) speed = std::min(speed, said);
    return Micros(static_cast<std::int64_t>(guest_->memory.dirty_pages() * figures().page_bytes *
                                            1000000 / speed));
  }

  void throttle() {
    const int initial = static_cast<int>(number(call_.params, "auto_converge.initial"));
    const int first = initial > 0 ? initial : 20;
    guest_->throttle =
        std::min(guest_->throttle == 0 ? first : guest_->throttle + (step_ > 0 ? step_ : 10), 99);
    figures().throttle = guest_->throttle;
  }

  void stop_cpus() {
    figures().stopped = world_.now();
    world_.pause(source_, *guest_, kPausedMigration, kSuspendedMigrated);
  }

  Task<> last_round() {
    if (running()) stop_cpus();
    if (figures().stopped == Micros::zero()) figures().stopped = world_.now();
    const auto pages = guest_->memory.take_dirty();
    co_await send(pages, true);
    const Bytes end = packer_.end(guest_->memory.writes());
    co_await path_->deliver(end);
    co_await path_->finish();
    figures().memory_remaining = 0;
  }

  // The CPUs go over with what they need to run; the pages follow, those that are waited for first.
  Task<> postcopy() {
    if (version_ < 3)
      throw refusal(ErrorId::unsupported, 84, "the destination cannot do post-copy");
    figures().stopped = world_.now();
    world_.pause(source_, *guest_, kPausedPostcopy, kSuspendedPostcopy);
    Bytes mark = packer_.end(guest_->memory.writes());
    mark[0] = static_cast<std::byte>('S');
    // Pages that changed since they were sent are missing there again.
    std::vector<std::uint32_t> missing = guest_->memory.take_dirty();
    Bytes marks;
    for (const std::uint32_t page : missing) {
      const Bytes one = packer_.mark('M', page);
      marks.insert(marks.end(), one.begin(), one.end());
    }
    marks.insert(marks.end(), mark.begin(), mark.end());
    co_await path_->deliver(marks);
    job_->postcopy = true;
    path_->follow(std::move(missing));
  }

  std::unique_ptr<Stream> tunnel_;
  World& world_;
  HostState& source_;
  std::shared_ptr<Guest> guest_;
  std::shared_ptr<OutJob> job_;
  const PhaseCall& call_;
  std::uint8_t version_;
  Packer packer_;
  std::uint64_t squeezing_;
  std::unique_ptr<DataPath> path_;
  int step_ = 0;
};

// The next page to send in post-copy: one that a CPU waits for, else the first missing one.
std::optional<std::uint32_t> next_missing(const Memory& memory, Incoming& in, std::uint32_t& from,
                                          CopyFigures& f) {
  while (!in.wants.empty()) {
    const std::uint32_t wanted = in.wants.front();
    in.wants.pop_front();
    if (!memory.missing(wanted)) continue;
    ++f.postcopy_requests;
    return wanted;
  }
  while (from < memory.shape().pages && !memory.missing(from)) ++from;
  if (from >= memory.shape().pages) return std::nullopt;
  return from;
}

}  // namespace

std::uint64_t postcopy_rate(const World& world, const Guest& source, const OutJob& job) {
  std::uint64_t rate = world.link().stream_bytes_per_s;
  if (job.postcopy_mib > 0) rate = std::min(rate, job.postcopy_mib * kMiB);
  if (source.max_speed_postcopy > 0) rate = std::min(rate, source.max_speed_postcopy * kMiB);
  return std::max<std::uint64_t>(rate, 1);
}

Task<> feed_postcopy(World& world, std::shared_ptr<Guest> guest) {
  const auto in = guest->in;
  const auto job = in->feeding;
  const Packer packer(Method::none, 0, 0);
  Packer pages(Method::none, 0, 0);
  std::uint32_t from = 0;
  while (guest->memory.missing_pages() > 0) {
    const auto source = in->feeder.lock();
    if (in->gone || !source || !source->active() || !job->broken.empty() || !world.link().up ||
        job->abort)
      throw refusal(ErrorId::remote, 9, "post-copy broke: the source cannot send the rest");
    Bytes frames;
    for (int i = 0; i < 8; ++i) {
      world.advance(*guest);
      const auto page = next_missing(guest->memory, *in, from, job->figures);
      if (!page) break;
      const Bytes one = pages.page(source->memory, *page, job->figures);
      job->figures.memory_sent += weight(one, source->spec.shape, job->figures.page_bytes);
      const auto taken = unpack(one, *guest, *in);
      if (!taken) throw refusal(ErrorId::remote, 9, taken.error().message);
      frames.insert(frames.end(), one.begin(), one.end());
    }
    const std::uint64_t left = guest->memory.missing_pages() * job->figures.page_bytes;
    job->figures.memory_remaining = left;
    job->figures.bps = postcopy_rate(world, *source, *job);
    const auto due = static_cast<double>(frames.size()) *
                     static_cast<double>(job->figures.page_bytes) / source->spec.shape.page_size /
                     static_cast<double>(job->figures.bps);
    const double real = due / std::max(world.speed, 1e-6);
    co_await world.clock().sleep(Micros(static_cast<std::int64_t>(real * 1e6) + 1));
    world.advance(*guest);
  }
  const auto ended = unpack(packer.end(0), *guest, *in);
  if (!ended) throw refusal(ErrorId::remote, 9, ended.error().message);
  job->fed = true;
}

Task<> take_up_postcopy(World& world, std::shared_ptr<Guest> guest, std::shared_ptr<OutJob> job,
                        const PhaseCall& call) {
  const auto* uri = call.params.get<std::string>("migrate_uri");
  co_await world.clock().sleep(2 * world.link().latency);
  const auto there = world.listener(uri ? *uri : std::string()).second;
  if (!there || !there->in || !world.link().up)
    throw refusal(ErrorId::remote, 9, "unable to connect to the destination again");
  CopyFigures& f = job->figures;
  f.started = f.stopped = world.now();
  f.page_bytes = guest->spec.memory_kib * 1024 / guest->spec.shape.pages;
  f.memory_total = guest->spec.memory_kib * 1024;
  f.memory_remaining = there->memory.missing_pages() * f.page_bytes;
  job->postcopy_mib = number(call.params, "bandwidth.postcopy");
  job->postcopy = true;
  guest->status.reason = kPausedPostcopy;
  there->in->feeder = guest;
  there->in->feeding = job;
}

Task<> copy_guest(World& world, HostState& source, std::shared_ptr<Guest> guest,
                  std::shared_ptr<OutJob> job, const PhaseCall& call, std::uint8_t version,
                  std::unique_ptr<Stream> tunnel) {
  Copy copy(world, source, std::move(guest), std::move(job), call, version, std::move(tunnel));
  co_await copy.run();
}

}  // namespace vmferry::sim
