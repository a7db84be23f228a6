// Compression methods: which go together, and with what. The rules of
// qemuMigrationParamsSetCompression (libvirt, src/qemu/qemu_migration_params.c).
#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "core/flags/rules.hpp"

namespace vmferry {

namespace {

struct Tuning {
  Opt option;
  std::string_view method;
};
constexpr Tuning kTunings[] = {
    {Opt::compression_mt_level, "mt"},     {Opt::compression_mt_threads, "mt"},
    {Opt::compression_mt_dthreads, "mt"},  {Opt::compression_xbzrle_cache, "xbzrle"},
    {Opt::compression_zlib_level, "zlib"}, {Opt::compression_zstd_level, "zstd"},
};

bool of_parallel(std::string_view method) { return method == "zlib" || method == "zstd"; }

Objection object(Opt option, std::optional<Opt> other, std::string reason, Source source) {
  Objection o{source, option, other};
  o.reason = std::move(reason);
  o.code = kInvalidArg;
  o.rule = "common";
  return o;
}

}  // namespace

std::vector<Objection> check_methods(const Chosen& chosen, const Params& params, Source source) {
  std::vector<Objection> out;
  std::vector<std::string> methods;
  for (const TypedParam& p : params.items)
    if (const auto* text = std::get_if<std::string>(&p.value); text && p.field == "compression")
      methods.push_back(*text);
  // A tuning parameter without --comp-methods brings its method along.
  for (const Tuning& t : kTunings)
    if (methods.empty() && chosen.unset(Opt::compression) && chosen.yes(t.option))
      methods.emplace_back(t.method);
  const bool parallel = chosen.yes(Opt::parallel);
  for (const std::string& m : methods) {
    if (parallel && !of_parallel(m))
      out.push_back(object(Opt::compression, Opt::parallel,
                           fmt::format("--comp-methods {} and --parallel exclude each other: "
                                       "parallel connections compress with zlib or zstd",
                                       m),
                           source));
    if (!parallel && of_parallel(m))
      out.push_back(object(Opt::compression, Opt::parallel,
                           fmt::format("--comp-methods {} needs --parallel", m), source));
  }
  if (parallel && std::ranges::count_if(methods, of_parallel) > 1)
    out.push_back(object(Opt::compression, Opt::parallel,
                         "--comp-methods: parallel connections take one method, not two", source));
  for (const Tuning& t : kTunings)
    if (chosen.yes(t.option) && std::ranges::find(methods, t.method) == methods.end())
      out.push_back(
          object(t.option, Opt::compression,
                 fmt::format("{} needs {} among --comp-methods", option_text(t.option), t.method),
                 source));
  if (parallel && chosen.yes(Opt::compressed) && methods.empty())
    out.push_back(object(Opt::compressed, Opt::parallel,
                         "--compressed with --parallel needs --comp-methods zlib or zstd", source));
  return out;
}

}  // namespace vmferry
