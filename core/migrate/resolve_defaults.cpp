// What was not said, filled in.
#include <fmt/format.h>

#include "core/migrate/resolver.hpp"

namespace vmferry {

void Resolver::fill_defaults() {
  if (out_.asked.strict) return;
  fill_demanded();
  const bool unset_live = chosen_.unset(Opt::live) && !yes(Opt::offline);
  if (rules_.habits.live && active_ && unset_live)
    fill(Opt::live, std::string(rules_.name), "a running guest moves live unless told otherwise");
  fill_definition();
  fill_compression();
  fill_uri();
}

void Resolver::fill_demanded() {
  for (const OptRow& r : opt_rows()) {
    if (!is_flag(r.id) || !chosen_.unset(r.id)) continue;
    const Ruling says = ruling(rules_, r.id, active_, source_.library_version);
    if (says.stance == Stance::demanded)
      fill(r.id, std::string(rules_.name), says.reason);
    else if (says.stance == Stance::inherent)
      out_.filled.push_back(
          {r.id, option_text(r.id), std::string(rules_.name), says.reason, false});
  }
}

void Resolver::fill_definition() {
  const bool takes = ruling(rules_, Opt::persist_dest, active_, 0).stance == Stance::accepted;
  if (takes && chosen_.unset(Opt::persist_dest)) {
    if (yes(Opt::persistent_xml))
      fill(Opt::persist_dest, "common", "--persistent-xml is the definition to keep");
    else if (yes(Opt::offline))
      fill(Opt::persist_dest, "common", "a definition that is not kept there would be lost");
    else if (rules_.habits.keep && domain_.persistent)
      fill(Opt::persist_dest, std::string(rules_.name),
           "the guest is defined on the source, so it will be on the destination");
  }
  const bool stays = active_ && yes(Opt::offline);
  // Who types --persistent decides about the source as well, as with virsh.
  if (rules_.habits.keep && domain_.persistent && was_filled(Opt::persist_dest) && !stays &&
      chosen_.unset(Opt::undefine_source))
    fill(Opt::undefine_source, std::string(rules_.name),
         "it moves: a definition left on the source could be started by mistake");
}

void Resolver::fill_compression() {
  static constexpr std::pair<Opt, std::string_view> tunings[] = {
      {Opt::compression_mt_level, "mt"},     {Opt::compression_mt_threads, "mt"},
      {Opt::compression_mt_dthreads, "mt"},  {Opt::compression_xbzrle_cache, "xbzrle"},
      {Opt::compression_zlib_level, "zlib"}, {Opt::compression_zstd_level, "zstd"}};
  if (chosen_.unset(Opt::compression)) {
    for (const auto& [option, method] : tunings) {
      if (!yes(option)) continue;
      bool there = false;
      for (const TypedParam& p : out_.plan.params.items)
        there = there ||
                (p.field == "compression" && p.value == TypedParam::Value(std::string(method)));
      if (there) continue;
      out_.plan.params.add("compression", std::string(method));
      out_.filled.push_back({Opt::compression, fmt::format("--comp-methods {}", method), "common",
                             fmt::format("{} tunes {}", option_text(option), method)});
    }
    if (out_.plan.params.has("compression")) chosen_[Opt::compression] = Choice::yes;
  }
  if (yes(Opt::compression) && chosen_.unset(Opt::compressed) &&
      ruling(rules_, Opt::compressed, active_, 0).stance == Stance::accepted)
    fill(Opt::compressed, "common", "--comp-methods says how to compress");
}

void Resolver::fill_uri() {
  const auto* given = out_.plan.params.get<std::string>("migrate_uri");
  if (given == nullptr) return;
  const std::string complete = complete_uri(rules_, *given);
  if (complete == *given) return;
  out_.filled.push_back({Opt::migrate_uri, fmt::format("--migrateuri {}", complete),
                         std::string(rules_.name),
                         "a bare address means the driver's first transport"});
  out_.plan.params.set("migrate_uri", complete);
}

void Resolver::fill_protection() {
  const bool can = source_.features.change_protection && out_.plan.protocol >= Protocol::v3;
  if (chosen_.unset(Opt::change_protection) && can && out_.plan.kind == Kind::managed &&
      ruling(rules_, Opt::change_protection, active_, 0).stance == Stance::accepted)
    fill(Opt::change_protection, "vmferry", "the source can keep others from changing the guest");
  out_.plan.change_protection = can && yes(Opt::change_protection);
}

}  // namespace vmferry
