#include "core/base/units.hpp"

#include <doctest/doctest.h>

using namespace vmferry;
using namespace std::chrono_literals;

TEST_CASE("units: sizes are read as libvirt reads them") {
  const auto size = [](std::string_view text) { return parse_size(text).value_or(7777); };
  CHECK(size("0") == 0);
  CHECK(size("4096") == 4096);
  CHECK(size("64k") == 65536);
  CHECK(size("64MiB") == 64 * kMiB);
  CHECK(size("64 M") == 64 * kMiB);
  CHECK(size("64MB") == 64'000'000);
  CHECK(size("1.5G") == kGiB * 3 / 2);
  CHECK(size("18446744073709551615") == UINT64_MAX);
  CHECK(parse_size("100", kMiB).value() == 100 * kMiB);
  for (const char* wrong : {"", "M", "-1", "1X", "1MiBx", "18446744073709551616", "16E", "1..5",
                            ".5", "1.", "nan", "99999999999.5E"})
    CHECK_MESSAGE(!parse_size(wrong), wrong);
}

TEST_CASE("units: sizes are printed with three digits") {
  CHECK(human_size(0) == "0 B");
  CHECK(human_size(1023) == "1023 B");
  CHECK(human_size(1536) == "1.50 KiB");
  CHECK(human_size(kGiB * 112) == "112 GiB");
  CHECK(human_size(kMiB * 1024 - 1) == "1.00 GiB");
  CHECK(human_size(UINT64_MAX) == "16.0 EiB");
  CHECK(human_rate(900 * kMiB) == "900 MiB/s");
}

TEST_CASE("units: durations") {
  const auto duration = [](std::string_view text) { return parse_duration(text).value_or(-1us); };
  CHECK(duration("90") == 90s);
  CHECK(duration("1.5") == 1500ms);
  CHECK(duration("300ms") == 300ms);
  CHECK(duration("1h30m") == 90min);
  CHECK(duration("2 min") == -1us);
  CHECK(parse_duration("300", 1ms).value() == 300ms);
  for (const char* wrong : {"", "s", "-1s", "5x", "1h30", "11000000000000s", "1 2"})
    CHECK_MESSAGE(!parse_duration(wrong), wrong);
  CHECK(human_duration(850us) == "850 us");
  CHECK(human_duration(12300us) == "12.3 ms");
  CHECK(human_duration(4200ms) == "4.20 s");
  CHECK(human_duration(123s) == "2 min 03 s");
  CHECK(human_duration(65min) == "1 h 05 min");
}
