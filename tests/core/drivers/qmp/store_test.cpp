#include "core/drivers/qmp/store.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "core/drivers/qmp/cookie.hpp"

using namespace vmferry;
using namespace vmferry::qmp;

namespace {

struct Directory {
  std::string path;
  Directory() {
    std::string name = (std::filesystem::temp_directory_path() / "qmp-store-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~Directory() { remove_all(path); }
  Store store() const { return Store({path + "/run", path + "/state"}); }
};

Instance own_process(const Store& store, const Uuid& uuid) {
  Instance i;
  i.uuid = uuid;
  i.dir = store.new_instance_dir(uuid);
  i.process = process_now(::getpid());
  i.name = "g";
  i.stage = Stage::handed_over;
  i.shared_ram = 5;
  i.monitors = {"a", "b"};
  return i;
}

}  // namespace

TEST_CASE("qmp store: files are private, processes come back, dead ones are forgotten") {
  const Directory dir;
  const Store store = dir.store();
  struct stat info{};
  REQUIRE(::stat((dir.path + "/run").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0700);
  Instance i = own_process(store, random_uuid());
  store.save(i);
  REQUIRE(::stat((i.dir + "/instance.json").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  REQUIRE(store.instances().size() == 1);
  const Instance back = store.instances()[0];
  CHECK(back.process == i.process);
  CHECK(back.stage == Stage::handed_over);
  CHECK(back.shared_ram == 5);
  CHECK(back.monitors == i.monitors);
  i.process.start += 1;  // the pid is another process's now
  store.save(i);
  CHECK(store.instances().empty());
  CHECK(entries(dir.path + "/run").empty());
}

TEST_CASE("qmp store: definitions by UUID") {
  const Directory dir;
  const Store store = dir.store();
  const auto d =
      read_definition(value_or_throw(xml_of_command_line({"qemu-system-x86_64", "-m", "64"}, "g")));
  REQUIRE(d);
  CHECK_FALSE(store.definition(d->uuid));
  store.save(*d);
  REQUIRE(store.definition(d->uuid));
  CHECK(store.definition(d->uuid)->argv == d->argv);
  CHECK(store.definitions().size() == 1);
  store.forget(d->uuid);
  CHECK(store.definitions().empty());
}

TEST_CASE("qmp store: once settled that a guest does not start, it cannot be started") {
  const Directory dir;
  const Store store = dir.store();
  const std::string started = to_string(random_uuid()), late = to_string(random_uuid());
  CHECK_FALSE(store.settle_started(started));  // nothing is known of it
  store.expect(started, Outlives::machine);
  store.starting(started, Outlives::program);
  CHECK(store.settle_started(started) == true);
  store.expect(late, Outlives::program);
  CHECK(store.settle_started(late) == false);
  CHECK_THROWS_AS(store.starting(late, Outlives::machine), Error);
  CHECK_THROWS_AS(store.expect("../../x", Outlives::machine), Error);
}

TEST_CASE("qmp store: one worker at a time on a domain") {
  const Directory dir;
  const Store store = dir.store();
  const Uuid uuid = random_uuid();
  {
    const Fd lock = store.lock_domain(uuid);
    CHECK_THROWS_AS(store.lock_domain(uuid), Error);
  }
  CHECK(store.lock_domain(uuid));
}

TEST_CASE("qmp store: an entry that cannot be understood never runs") {
  const Directory dir;
  const Store store = dir.store();
  const Instance i = own_process(store, random_uuid());
  store.save(i);
  std::string text = *read_file(i.dir + "/instance.json");
  text.replace(text.find("handed-over"), 11, "of-tomorrow");
  write_atomically(i.dir + "/instance.json", text);
  REQUIRE(store.instances().size() == 1);
  CHECK(store.instances()[0].stage == Stage::handed_over);
}

TEST_CASE("qmp places: of the URI, of the session, of the system") {
  const auto places = [](const char* uri) {
    return places_of(*parse_connect_uri(uri), [](const std::string& name) {
      return name == "HOME" ? std::optional<std::string>("/home/u") : std::nullopt;
    });
  };
  CHECK(places("qmp:///session?dir=/x")->run == "/x/run");
  CHECK(places("qmp:///session")->state == "/home/u/.local/state/vmferry");
  CHECK(places("qmp:///system")->run == "/run/vmferry");
  CHECK_FALSE(places("qmp:///session?dir=x"));
  CHECK_FALSE(places("qmp:///other"));
}

TEST_CASE("qmp cookies: back and forth; another phase, version, length or form is refused") {
  Offer o;
  o.migration = "m";
  o.argv = {"qemu", "-m", "1"};
  o.machine = "pc";
  o.shared_ram = 77;
  o.start = 1ULL << 40;
  const Cookie packed = pack(o);
  const auto back = unpack_offer(packed);
  REQUIRE(back);
  CHECK(back->argv == o.argv);
  CHECK(back->shared_ram == 77);
  CHECK(back->start == o.start);
  CHECK_FALSE(unpack_reply(packed));
  CHECK_FALSE(unpack_offer({}));
  CHECK_FALSE(unpack_offer(Cookie(kMostCookie + 1)));
  CHECK_FALSE(unpack_offer(Cookie(5, std::byte{'{'})));
  const std::string newer = R"({"vmferry":"offer","version":2})";
  const auto refused =
      unpack_offer(Cookie(reinterpret_cast<const std::byte*>(newer.data()),
                          reinterpret_cast<const std::byte*>(newer.data()) + newer.size()));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().id == ErrorId::unsupported);
  CHECK(unpack_reply(pack(Reply{"m", true}))->hand_over);
  Copied c{.migration = "m", .stats = {}, .postcopy = true, .stopped_at = 12, .host = "h"};
  c.stats.fields.add("memory_total", std::uint64_t{9});
  const auto copied = unpack_copied(pack(c));
  REQUIRE(copied);
  CHECK(copied->stats.number("memory_total") == 9);
  CHECK(copied->postcopy);
  CHECK(copied->stopped_at == 12);
  o.disks = {{.name = "disk0", .file = "/a", .format = "raw", .bytes = 512, .identity = "1:2"}};
  const auto disks = unpack_offer(pack(o))->disks;
  REQUIRE(disks.size() == 1);
  CHECK(disks[0].name == "disk0");
  CHECK(disks[0].bytes == 512);
  CHECK(disks[0].identity == "1:2");
}
