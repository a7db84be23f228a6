#include "cli/output.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "cli/job_text.hpp"
#include "core/base/text.hpp"
#include "tests/support/kept_sink.hpp"

using namespace vmferry;
using namespace vmferry::cli;

TEST_CASE("table: as virsh draws it") {
  Table table({"Id", "Name", "State"});
  table.add({"1", "test", "running"});
  CHECK(table.text() == " Id   Name   State\n----------------------\n 1    test   running\n");
}

TEST_CASE("errors: for people, harmless whatever a peer says") {
  KeptSink sink;
  Error e(ErrorId::migrate_failed, "qemu said \x1b[2Jboo");
  e.at(Side::destination).in("prepare").note("first \x07 note");
  e.remedy = "Try again.";
  print_error(sink, Format::text, Terminal{}, e);
  CHECK(sink.complained ==
        "error: [destination, prepare] qemu said \\x1b[2Jboo\n"
        "  first \\x07 note\n"
        "  remedy: Try again.\n"
        "  (migrate.failed; see `vmferry explain migrate.failed`)\n");
  CHECK(sink.written.empty());
}

TEST_CASE("errors: for programs") {
  KeptSink sink;
  Error e(ErrorId::remote, "no \xff utf8");
  e.wire = {42, 10};
  print_error(sink, Format::json, Terminal{}, e.at(Side::source));
  const Json json = Json::parse(sink.written)["error"];
  CHECK(json["id"] == "host.refused");
  CHECK(json["exit"] == 1);
  CHECK(json["side"] == "source");
  CHECK(json["libvirt"]["code"] == 42);
}

TEST_CASE("colour is for terminals only") {
  KeptSink plain, coloured;
  print_error(plain, Format::text, Terminal{.colour = true}, Error(ErrorId::usage, "x"));
  print_error(coloured, Format::text, Terminal{.err = true, .colour = true},
              Error(ErrorId::usage, "x"));
  CHECK_FALSE(plain.complained.contains('\x1b'));
  CHECK(coloured.complained.contains("\x1b[1;31merror:\x1b[0m"));
}

TEST_CASE("job text: virsh's labels") {
  JobStats stats;
  CHECK(job_text(stats) == "Job type:         None        \n");
  stats.type = JobType::unbounded;
  stats.fields.add("time_elapsed", std::uint64_t{1200});
  stats.fields.add("data_total", std::uint64_t{3} << 29);
  stats.fields.add("downtime", std::uint64_t{300});
  CHECK(job_text(stats) ==
        "Job type:         Unbounded   \n"
        "Time elapsed:     1200         ms\n"
        "Data total:       1.500 GiB\n"
        "Expected downtime: 300          ms\n");
  CHECK(raw_job_text(stats).contains("\ndata_total: 1610612736\n"));
  stats.type = JobType::failed;
  CHECK_FALSE(job_text(stats).contains("Data total"));
  CHECK(job_text(stats, true).contains("Data total"));
}

TEST_CASE("errors: long lines are wrapped on a terminal, whole in a pipe") {
  KeptSink pipe, screen;
  Error e(ErrorId::usage, "short");
  for (int i = 0; i < 20; ++i) e.remedy += "many words ";
  print_error(pipe, Format::text, Terminal{}, e);
  print_error(screen, Format::text, Terminal{.err = true, .columns = 70}, e);
  CHECK(pipe.complained.contains(trimmed(e.remedy)));
  for (const std::string_view line : split(screen.complained, '\n')) CHECK(line.size() <= 70);
}
