#include "core/flags/check.hpp"

#include <fmt/format.h>

namespace vmferry {

namespace {

using K = Relation::Kind;

constexpr Relation excludes(Opt a, Opt b, std::int32_t code, std::string_view reason) {
  return {a, K::excludes, b, b, code, reason};
}
constexpr Relation needs(Opt a, Opt b, std::int32_t code, std::string_view reason) {
  return {a, K::needs, b, b, code, reason};
}
/// B is filled in when it was not said.
constexpr Relation implies(Opt a, Opt b, std::int32_t code, std::string_view reason) {
  return {a, K::needs, b, b, code, reason, true};
}
constexpr Relation needs_any(Opt a, Opt b, Opt c, std::int32_t code, std::string_view reason) {
  return {a, K::needs_any, b, c, code, reason};
}

constexpr std::string_view kNoMemory = "an offline migration moves no memory";
constexpr std::string_view kNoCopy = "an offline migration copies no disk";
constexpr std::string_view kInParallel = "libvirt's stream is a single connection";
constexpr std::string_view kWhichDisks = "it says which disks are copied";
constexpr std::string_view kCompressionTuned = "it tunes compression";

constexpr auto kRelations = std::to_array<Relation>({
    // who drives, and how
    excludes(Opt::live, Opt::offline, 0, "an offline migration moves no running guest"),
    excludes(Opt::peer2peer, Opt::direct, 0, "either the source's daemon drives, or nobody does"),
    needs(Opt::tunnelled, Opt::peer2peer, kInvalidArg, "the source's daemon carries the data"),
    needs(Opt::direct, Opt::migrate_uri, kArgumentUnsupported,
          "there is no daemon to say where to go"),
    needs(Opt::p2p_any_uri, Opt::peer2peer, 0, "it is about what the source's daemon is given"),
    // offline
    excludes(Opt::offline, Opt::compressed, 0, kNoMemory),
    excludes(Opt::offline, Opt::paused, 0, "nothing runs that could be paused"),
    excludes(Opt::offline, Opt::auto_converge, 0, kNoMemory),
    excludes(Opt::offline, Opt::rdma_pin_all, 0, kNoMemory),
    excludes(Opt::offline, Opt::parallel, 0, kNoMemory),
    excludes(Opt::offline, Opt::zerocopy, 0, kNoMemory),
    excludes(Opt::offline, Opt::postcopy, 0, kNoMemory),
    excludes(Opt::offline, Opt::abort_on_error, 0, "the guest does nothing that could fail"),
    excludes(Opt::offline, Opt::tunnelled, kOperationInvalid, "there is no data to carry"),
    excludes(Opt::offline, Opt::non_shared_disk, kOperationInvalid, kNoCopy),
    excludes(Opt::offline, Opt::non_shared_inc, kOperationInvalid, kNoCopy),
    excludes(Opt::offline, Opt::timeout, 0, "there is nothing to wait for"),
    implies(Opt::offline, Opt::persist_dest, kOperationInvalid,
            "a definition that is not kept there is lost"),
    // storage
    excludes(Opt::non_shared_disk, Opt::non_shared_inc, kInvalidArg,
             "a disk is copied whole or by its top image"),
    needs_any(Opt::non_shared_synchronous_writes, Opt::non_shared_disk, Opt::non_shared_inc,
              kInvalidArg, "it says how disks are copied"),
    needs_any(Opt::migrate_disks, Opt::non_shared_disk, Opt::non_shared_inc, kOperationUnsupported,
              kWhichDisks),
    needs_any(Opt::migrate_disks_detect_zeroes, Opt::non_shared_disk, Opt::non_shared_inc,
              kOperationUnsupported, kWhichDisks),
    needs_any(Opt::disks_port, Opt::non_shared_disk, Opt::non_shared_inc, 0,
              "it says where disks are copied to"),
    needs_any(Opt::disks_uri, Opt::non_shared_disk, Opt::non_shared_inc, 0,
              "it says where disks are copied to"),
    excludes(Opt::disks_uri, Opt::disks_port, kInvalidArg, "the URI holds the port"),
    excludes(Opt::tunnelled, Opt::non_shared_disk, kOperationUnsupported,
             "disks are copied over a connection of their own"),
    excludes(Opt::tunnelled, Opt::non_shared_inc, kOperationUnsupported,
             "disks are copied over a connection of their own"),
    // the data path
    excludes(Opt::tunnelled, Opt::parallel, kInvalidArg, kInParallel),
    excludes(Opt::tunnelled, Opt::postcopy, kArgumentUnsupported,
             "post-copy needs a way back, and the stream goes one way"),
    excludes(Opt::tunnelled, Opt::migrate_uri, kArgumentUnsupported,
             "the data takes the daemons' own connection"),
    excludes(Opt::tunnelled, Opt::listen_address, kArgumentUnsupported,
             "the data takes the daemons' own connection"),
    excludes(Opt::tunnelled, Opt::disks_port, kArgumentUnsupported,
             "the data takes the daemons' own connection"),
    needs(Opt::tls_destination, Opt::tls, 0, "it names the certificate that TLS shall meet"),
    // memory
    needs(Opt::zerocopy, Opt::parallel, kOperationInvalid,
          "only parallel connections can send without a copy"),
    needs(Opt::parallel_connections, Opt::parallel, kInvalidArg, "it tunes parallel connections"),
    needs(Opt::auto_converge_initial, Opt::auto_converge, kInvalidArg, "it tunes auto-converge"),
    needs(Opt::auto_converge_increment, Opt::auto_converge, kInvalidArg, "it tunes auto-converge"),
    implies(Opt::compression, Opt::compressed, 0, "it says how to compress"),
    implies(Opt::compression_mt_level, Opt::compression, kInvalidArg, kCompressionTuned),
    implies(Opt::compression_mt_threads, Opt::compression, kInvalidArg, kCompressionTuned),
    implies(Opt::compression_mt_dthreads, Opt::compression, kInvalidArg, kCompressionTuned),
    implies(Opt::compression_xbzrle_cache, Opt::compression, kInvalidArg, kCompressionTuned),
    implies(Opt::compression_zlib_level, Opt::compression, kInvalidArg, kCompressionTuned),
    implies(Opt::compression_zstd_level, Opt::compression, kInvalidArg, kCompressionTuned),
    // post-copy
    implies(Opt::postcopy, Opt::live, kArgumentUnsupported,
            "only a running guest fetches its memory afterwards"),
    excludes(Opt::postcopy, Opt::paused, kArgumentUnsupported,
             "a paused guest would never fetch its memory"),
    needs(Opt::postcopy_resume, Opt::postcopy, kArgumentUnsupported, "it mends a post-copy"),
    needs(Opt::postcopy_after_precopy, Opt::postcopy, 0, "it switches to post-copy"),
    needs(Opt::timeout_postcopy, Opt::postcopy, 0, "it switches to post-copy"),
    needs(Opt::bandwidth_postcopy, Opt::postcopy, 0, "it limits post-copy"),
    // times
    implies(Opt::timeout, Opt::live, 0, "a guest that is paused anyway needs no time limit"),
    needs(Opt::timeout_suspend, Opt::timeout, 0, "it says what happens then"),
    needs(Opt::timeout_postcopy, Opt::timeout, 0, "it says what happens then"),
    needs(Opt::timeout_abort, Opt::timeout, 0, "it says what happens then"),
    excludes(Opt::timeout_suspend, Opt::timeout_postcopy, 0, "one thing happens at the time limit"),
    excludes(Opt::timeout_suspend, Opt::timeout_abort, 0, "one thing happens at the time limit"),
    excludes(Opt::timeout_postcopy, Opt::timeout_abort, 0, "one thing happens at the time limit"),
    // the definition
    implies(Opt::persistent_xml, Opt::persist_dest, 0, "it is the definition to keep"),
});

bool missing(const Chosen& chosen, const Relation& r, bool strict) {
  if (r.kind == K::needs_any) return !chosen.yes(r.other) && !chosen.yes(r.another);
  if (chosen.yes(r.other)) return false;
  return !(r.filled_in && !strict && chosen.unset(r.other));
}

Objection object(const Relation& r, const Chosen& chosen, Source source) {
  const std::string a = option_text(r.option), b = option_text(r.other);
  Objection out{source, r.option, r.other, "", "", r.code, Side::none, "common"};
  if (r.kind == K::excludes) {
    out.reason = fmt::format("{} and {} exclude each other: {}", a, b, r.reason);
    out.remedy = "Leave one of them out.";
  } else if (r.kind == K::needs_any) {
    const std::string c = option_text(r.another);
    out.reason = fmt::format("{} needs {} or {}: {}", a, b, c, r.reason);
    out.remedy = fmt::format("Add {} or {}, or leave {} out.", b, c, a);
  } else if (chosen.no(r.other)) {
    out.reason =
        fmt::format("{} and --no-{} exclude each other: {}", a, row(r.other).option, r.reason);
    out.remedy = "Leave one of them out.";
  } else {
    out.reason = fmt::format("{} needs {}: {}", a, b, r.reason);
    out.remedy = fmt::format("Add {}, or leave {} out.", b, a);
  }
  return out;
}

}  // namespace

std::string_view name(Source source) {
  static constexpr std::string_view names[] = {"command", "common", "driver",
                                               "release", "host",   "uri"};
  return names[static_cast<std::size_t>(source)];
}

std::span<const Relation> relations() { return kRelations; }

std::vector<Objection> check_relations(const Chosen& chosen, bool strict, Source source) {
  std::vector<Objection> out;
  for (const Relation& r : kRelations) {
    if (!chosen.yes(r.option)) continue;
    const bool bad = r.kind == K::excludes ? chosen.yes(r.other) : missing(chosen, r, strict);
    if (bad) out.push_back(object(r, chosen, source));
  }
  return out;
}

}  // namespace vmferry
