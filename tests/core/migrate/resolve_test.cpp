#include "core/migrate/resolve.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/migrate/draft.hpp"
#include "core/migrate/render.hpp"

using namespace vmferry;

namespace {

HostView qemu_host(const char* name) {
  HostView h{
      "QEMU", std::string("qemu+ssh://") + name + "/system", name, libvirt_version(11, 3, 0), {}};
  h.features = {.v2 = true,
                .v3 = true,
                .v3_params = true,
                .p2p = true,
                .offline = true,
                .change_protection = true,
                .xml_migratable = true};
  return h;
}
HostView host_of(const char* type, const char* name) {
  HostView h = qemu_host(name);
  h.type = type;
  h.uri = std::string(type) + "+ssh://" + name + "/system";
  h.features = {.v3_params = true, .p2p = true};
  return h;
}
HostView test_host(const char* rules, const char* name) {
  HostView h = host_of("TEST", name);
  h.uri = std::string("test://") + name + "/default?rules=" + rules;
  return h;
}
DomainView guest(DomainState state, bool persistent = true) {
  DomainView d;
  d.ref.name = "web1";
  d.status.state = state;
  d.persistent = persistent;
  return d;
}
Request request(std::initializer_list<Opt> options, std::initializer_list<Opt> against = {}) {
  Draft d;
  for (const Opt o : options) {
    if (row(o).type == ValueType::boolean)
      REQUIRE(d.choose(o, Choice::yes).has_value());
    else
      REQUIRE(d.set(o, row(o).values.empty() ? "7" : "xbzrle").has_value());
  }
  for (const Opt o : against) REQUIRE(d.choose(o, Choice::no).has_value());
  Result<Request> r = d.request();
  if (!r) MESSAGE(r.error().message);
  REQUIRE(r.has_value());
  return *r;
}
Resolution on_qemu(const Request& r, const DomainView& d = guest(DomainState::running)) {
  return resolve(r, qemu_host("host1"), qemu_host("host2"), d);
}
bool objects(const Resolution& r, Opt option, std::int32_t code) {
  return std::ranges::any_of(
      r.objections, [&](const Objection& o) { return o.option == option && o.code == code; });
}
std::string reasons(const Resolution& r) {
  std::string out;
  for (const Objection& o : r.objections) out += o.reason + "\n";
  return out;
}

}  // namespace

TEST_CASE("resolve: nothing typed works on every driver, running") {
  struct Case {
    HostView a, b;
    FlagSet flags;
  };
  const Case cases[] = {
      {qemu_host("h1"), qemu_host("h2"), {Flag::live, Flag::persist_dest, Flag::undefine_source}},
      {host_of("Xen", "h1"),
       host_of("Xen", "h2"),
       {Flag::live, Flag::persist_dest, Flag::undefine_source}},
      {host_of("vz", "h1"), host_of("vz", "h2"), {}},
      {host_of("OpenVZ", "h1"), host_of("OpenVZ", "h2"), {Flag::live}},
      {test_host("vz-2015", "h1"),
       test_host("vz-2015", "h2"),
       {Flag::live, Flag::compressed, Flag::persist_dest}},
  };
  for (const Case& c : cases) {
    const Resolution r = resolve(request({}), c.a, c.b, guest(DomainState::running));
    CAPTURE(c.a.type);
    CHECK(reasons(r) == "");
    CHECK(r.plan.flags.bits() == c.flags.bits());
    CHECK(r.plan.kind == Kind::managed);
    CHECK(r.plan.protocol == Protocol::v3_params);
  }
}

TEST_CASE("resolve: nothing typed, stopped") {
  const Resolution q = on_qemu(request({}), guest(DomainState::shutoff));
  CHECK(reasons(q) == "");
  CHECK(q.plan.flags == FlagSet{Flag::offline, Flag::persist_dest, Flag::undefine_source});
  CHECK(q.end_state ==
        "after this: web1 is shut off on host2, defined on host2, removed from host1");
  const Resolution v = resolve(request({}), test_host("vz-2015", "h1"), test_host("vz-2015", "h2"),
                               guest(DomainState::shutoff));
  // The simulated hosts of this test do not announce offline migration.
  CHECK(v.plan.flags == FlagSet{Flag::offline, Flag::persist_dest});
  const Resolution x =
      resolve(request({}), host_of("Xen", "h1"), host_of("Xen", "h2"), guest(DomainState::shutoff));
  CHECK_FALSE(x.allowed());
}

TEST_CASE("resolve: a transient guest keeps nothing; what was typed wins") {
  const Resolution t = on_qemu(request({}), guest(DomainState::running, false));
  CHECK(t.plan.flags == FlagSet{Flag::live});
  CHECK(t.end_state ==
        "after this: web1 runs on host2, not defined on host2 (gone once it stops), gone from "
        "host1");
  const Resolution keep = on_qemu(request({Opt::live, Opt::persist_dest}, {Opt::undefine_source}));
  CHECK(keep.plan.flags == FlagSet{Flag::live, Flag::persist_dest});
  CHECK(keep.end_state ==
        "after this: web1 runs on host2, defined on host2, still defined on host1, shut off");
  const Resolution typed = on_qemu(request({Opt::live, Opt::persist_dest}));
  CHECK(typed.plan.flags == FlagSet{Flag::live, Flag::persist_dest});  // as with virsh
  REQUIRE(typed.notes.size() == 1);
  CHECK(typed.notes.front().contains("do not start"));
  const Resolution cold = on_qemu(request({}, {Opt::live}));
  CHECK_FALSE(cold.plan.flags.has(Flag::live));
  CHECK(cold.allowed());
}

TEST_CASE("resolve: strict fills nothing in") {
  const Resolution q = on_qemu(request({Opt::strict}));
  CHECK(q.plan.flags.empty());
  CHECK(q.allowed());
  const auto a = test_host("vz-2015", "h1"), b = test_host("vz-2015", "h2");
  const Resolution v = resolve(request({Opt::strict}), a, b, guest(DomainState::running));
  CHECK(objects(v, Opt::live, kInvalidArg));
  CHECK(objects(v, Opt::compressed, kInvalidArg));
  CHECK(objects(v, Opt::persist_dest, kInvalidArg));
  CHECK(resolve(request({Opt::strict, Opt::live, Opt::compressed, Opt::persist_dest}), a, b,
                guest(DomainState::running))
            .allowed());
}

TEST_CASE("resolve: against what is inherent or demanded is refused with the reason") {
  const auto vz = [](const Request& r, DomainState state = DomainState::running) {
    return resolve(r, host_of("vz", "h1"), host_of("vz", "h2"), guest(state));
  };
  CHECK(objects(vz(request({}, {Opt::compressed})), Opt::compressed, 0));
  CHECK(objects(vz(request({}, {Opt::live})), Opt::live, 0));
  const Resolution asked = vz(request({Opt::live, Opt::compressed}));
  CHECK(asked.allowed());
  CHECK(asked.plan.flags == FlagSet{Flag::live});  // COMPRESSED would be rejected
  const Resolution v15 = resolve(request({}, {Opt::persist_dest}), test_host("vz-2015", "h1"),
                                 test_host("vz-2015", "h2"), guest(DomainState::running));
  CHECK(objects(v15, Opt::persist_dest, kInvalidArg));
  CHECK(reasons(v15).contains("--no-persistent is refused"));
}

TEST_CASE("resolve: a stopped guest of vz moves as it is, by all phases") {
  const Resolution r =
      resolve(request({}), host_of("vz", "h1"), host_of("vz", "h2"), guest(DomainState::shutoff));
  CHECK(reasons(r) == "");
  CHECK(r.plan.flags == FlagSet{});
  REQUIRE(r.steps.size() == 5);
  CHECK(r.steps[2].what == "hand the guest over, and remove the guest here");
  CHECK(r.data.protection == DataPath::Protection::nothing_moves);
  CHECK(r.end_state == "after this: web1 is shut off on h2, defined on h2, removed from h1");
  for (const Filled& f : r.filled) CHECK(f.option != Opt::live);
  const Resolution live = resolve(request({Opt::live}), host_of("vz", "h1"), host_of("vz", "h2"),
                                  guest(DomainState::shutoff));
  CHECK(live.allowed());  // the daemon takes the bit
  CHECK(live.plan.flags == FlagSet{Flag::live});
}

TEST_CASE("resolve: openvz moves running containers only") {
  const auto in = [](DomainState state) {
    return resolve(request({}), host_of("OpenVZ", "h1"), host_of("OpenVZ", "h2"), guest(state));
  };
  CHECK(in(DomainState::running).allowed());
  CHECK(in(DomainState::paused).objections.front().code == kInternalError);
  CHECK(in(DomainState::shutoff).objections.front().code == kOperationInvalid);
}

TEST_CASE("resolve: vz-2015 by state") {
  const auto with = [](const Request& r, DomainState state) {
    HostView a = test_host("vz-2015", "h1"), b = test_host("vz-2015", "h2");
    a.features.offline = b.features.offline = true;
    return resolve(r, a, b, guest(state));
  };
  const Resolution off = with(request({Opt::offline}), DomainState::running);
  CHECK(reasons(off) == "");  // harmless: it moves with its state
  CHECK(off.plan.flags == FlagSet{Flag::live, Flag::compressed, Flag::persist_dest});
  CHECK(off.data.protection == DataPath::Protection::hypervisor);
  CHECK(with(request({Opt::offline}), DomainState::shutoff).allowed());
  for (const Opt o : {Opt::live, Opt::compressed, Opt::paused}) {
    const Resolution r = with(request({o}), DomainState::shutoff);
    CHECK(objects(r, o, kInvalidArg));
    CHECK(reasons(r).contains("makes no sense"));
    CHECK(r.objections.size() == 1);
  }
}

TEST_CASE("resolve: a stopped qemu guest and flags of running ones, all at once") {
  const Resolution r = on_qemu(request({Opt::live, Opt::compressed, Opt::auto_converge}),
                               guest(DomainState::shutoff));
  CHECK(objects(r, Opt::live, kOperationInvalid));
  CHECK(objects(r, Opt::compressed, 0));
  CHECK(objects(r, Opt::auto_converge, 0));
  CHECK(r.objections.size() == 3);
  CHECK(r.error().id == ErrorId::refused);
  CHECK(r.error().notes.size() == 2);
  CHECK(objects(on_qemu(request({}, {Opt::offline}), guest(DomainState::shutoff)), Opt::offline,
                kOperationInvalid));
}

TEST_CASE("resolve: limits that cannot be enforced are refused, 0 is the default") {
  const auto xen = [](const char* limit) {
    Draft d;
    REQUIRE(d.set(Opt::bandwidth, limit).has_value());
    return resolve(*d.request(), host_of("Xen", "h1"), host_of("Xen", "h2"),
                   guest(DomainState::running));
  };
  CHECK(objects(xen("100"), Opt::bandwidth, kArgumentUnsupported));
  CHECK(xen("0").allowed());
  Request raw = request({});
  raw.params.add("bandwidth", std::uint64_t{0});
  CHECK_FALSE(on_qemu(raw).plan.params.has("bandwidth"));
}

TEST_CASE("resolve: what a release does not know, by side") {
  HostView old = qemu_host("host2");
  old.library_version = libvirt_version(9, 0, 0);
  Draft d;
  REQUIRE(d.set(Opt::bandwidth_avail_switchover, "5").has_value());
  REQUIRE(d.set(Opt::compression, "zstd").has_value());
  REQUIRE(d.choose(Opt::parallel, Choice::yes).has_value());
  const Resolution r = resolve(*d.request(), qemu_host("host1"), old, guest(DomainState::running));
  REQUIRE(r.objections.size() == 2);
  CHECK(r.objections[0].side == Side::destination);
  CHECK(objects(r, Opt::bandwidth_avail_switchover, kArgumentUnsupported));
  CHECK(objects(r, Opt::compression, kInvalidArg));
  Request trusted = *d.request();
  trusted.trust_host = true;
  CHECK(resolve(trusted, qemu_host("host1"), old, guest(DomainState::running)).allowed());
}

TEST_CASE("resolve: protocol, newest that both know") {
  struct Case {
    HostFeatures s, d;
    Protocol p;
    bool ok;
  };
  const Case cases[] = {
      {{.v2 = true, .v3 = true, .v3_params = true}, {.v2 = true, .v3 = true}, Protocol::v3, true},
      {{.v2 = true, .v3 = true}, {.v1 = true, .v2 = true}, Protocol::v2, true},
      {{.v1 = true}, {.v1 = true, .v2 = true}, Protocol::v1, true},
      {{.v3_params = true}, {.v3 = true}, Protocol::v3_params, false},
  };
  for (const Case& c : cases) {
    HostView a = qemu_host("host1"), b = qemu_host("host2");
    a.features = c.s;
    b.features = c.d;
    const Resolution r = resolve(request({}), a, b, guest(DomainState::running));
    CHECK(r.allowed() == c.ok);
    if (c.ok) CHECK(r.plan.protocol == c.p);
    if (!c.ok) CHECK(r.objections.front().code == kNoSupport);
  }
  HostView a = qemu_host("host1");
  a.features = {.v3 = true};
  const Resolution r =
      resolve(request({Opt::graphics_uri}), a, qemu_host("host2"), guest(DomainState::running));
  CHECK(objects(r, Opt::graphics_uri, kArgumentUnsupported));
}

TEST_CASE("resolve: peer-to-peer never hands programs or files of ours to the daemon") {
  struct Case {
    const char* uri;
    std::size_t objections, insisting;
  };
  const Case cases[] = {
      {"qemu+ssh://root@host2/system", 0, 0},
      {"qemu+tcp://host2/system", 0, 0},
      {"qemu://host2/system", 0, 0},
      {"qemu+ssh://host2/system?keyfile=/etc/keys/id", 1, 0},
      {"qemu+ssh://host2/system?netcat=/tmp/x&command=/tmp/y", 1, 0},
      {"qemu+ext://host2/system?command=/tmp/x", 1, 0},
      {"qemu+ssh://host2/system?socket=/tmp/s", 1, 0},
      {"qemu+tcp://localhost/system", 1, 1},
      {"qemu:///system", 1, 1},
      {"qemu+unix:///system?socket=/run/other.sock", 1, 0},
  };
  for (const Case& c : cases) {
    CAPTURE(c.uri);
    CHECK(check_p2p_uri(c.uri, false).size() == c.objections);
    CHECK(check_p2p_uri(c.uri, true).size() == c.insisting);
  }
  const Resolution r = on_qemu(request({Opt::peer2peer, Opt::tunnelled}));
  CHECK(reasons(r) == "");
  CHECK(r.plan.kind == Kind::peer_to_peer);
  CHECK(r.data.text ==
        "memory goes through the daemons' own connection, encrypted by ssh, from host1 to host2");
  REQUIRE(r.steps.size() == 1);
}

TEST_CASE("resolve: the data path says who can read it") {
  const auto text = [](std::initializer_list<Opt> o, const char* uri) {
    Draft d;
    for (const Opt x : o) {
      if (row(x).type == ValueType::boolean)
        REQUIRE(d.choose(x, Choice::yes).has_value());
      else
        REQUIRE(d.set(x, "host2").has_value());
    }
    if (*uri != 0) REQUIRE(d.set(Opt::migrate_uri, uri).has_value());
    return on_qemu(*d.request()).data.text;
  };
  CHECK(text({}, "tcp://host2:49152") == "memory goes in clear over tcp from host1 to host2:49152");
  CHECK(text({}, "10.0.0.2") ==
        "memory goes in clear over tcp from host1 to 10.0.0.2 (a port of 49152-49215)");
  CHECK(text({Opt::tls}, "") ==
        "memory goes encrypted by TLS over tcp from host1 to host2 (a port "
        "of 49152-49215)");
  CHECK(text({}, "unix:///run/m.sock") ==
        "memory goes through the unix socket /run/m.sock on host1");
  CHECK(on_qemu(request({}), guest(DomainState::shutoff)).data.text == "no memory moves");
}

TEST_CASE("resolve: unix sockets and their companions") {
  const auto with = [](std::initializer_list<Opt> options) {
    Draft d;
    for (const Opt o : options) {
      if (row(o).type == ValueType::boolean)
        REQUIRE(d.choose(o, Choice::yes).has_value());
      else
        REQUIRE(d.set(o, "x").has_value());
    }
    REQUIRE(d.set(Opt::migrate_uri, "unix:///s").has_value());
    return on_qemu(*d.request());
  };
  CHECK(with({}).allowed());
  CHECK(objects(with({Opt::tls}), Opt::tls, kOperationUnsupported));
  CHECK(with({Opt::tls, Opt::tls_destination}).allowed());
  CHECK(objects(with({Opt::listen_address}), Opt::listen_address, kInvalidArg));
  CHECK(objects(with({Opt::non_shared_disk}), Opt::disks_uri, kInvalidArg));
}

TEST_CASE("resolve: states of the guest") {
  DomainView paused = guest(DomainState::paused);
  CHECK(on_qemu(request({}), paused).end_state.contains("is paused on host2"));
  CHECK(objects(on_qemu(request({}, {Opt::paused}), paused), Opt::paused, 0));
  const Request resume = request({Opt::postcopy, Opt::postcopy_resume});
  CHECK(objects(on_qemu(resume), Opt::postcopy_resume, kOperationInvalid));
  paused.status.reason = kPausedPostcopyFailed;
  CHECK(on_qemu(resume, paused).allowed());
  paused.status.reason = kPausedMigration;
  const Resolution stopped = on_qemu(request({}), paused);
  CHECK_FALSE(stopped.allowed());
  CHECK(stopped.objections[0].remedy.contains("resume web1"));
  const Resolution copy = on_qemu(request({Opt::offline}));
  CHECK(copy.allowed());
  CHECK(copy.plan.flags == FlagSet{Flag::offline, Flag::persist_dest});
  CHECK(copy.end_state ==
        "after this: web1 still runs on host1; host2 has its definition, not the guest");
}

TEST_CASE("resolve: protection is taken where there is some") {
  CHECK(on_qemu(request({})).plan.change_protection);
  CHECK_FALSE(on_qemu(request({}, {Opt::change_protection})).plan.change_protection);
  CHECK_FALSE(on_qemu(request({})).plan.flags.has(Flag::change_protection));
  const auto xen = resolve(request({Opt::change_protection}), host_of("Xen", "a"),
                           host_of("Xen", "b"), guest(DomainState::running));
  CHECK(objects(xen, Opt::change_protection, kArgumentUnsupported));
}

TEST_CASE("resolve: kinds of hosts that do not fit") {
  const auto r =
      resolve(request({}), qemu_host("a"), host_of("Xen", "b"), guest(DomainState::running));
  CHECK(reasons(r).contains("one kind only"));
  const auto ch =
      resolve(request({}), host_of("CH", "a"), host_of("CH", "b"), guest(DomainState::running));
  REQUIRE(ch.objections.size() == 1);
  CHECK(ch.objections.front().code == kNoSupport);
}

TEST_CASE("resolve: --trust-host skips the driver's table, not the common rules") {
  Request r = request({Opt::auto_converge});
  const auto on_xen = [&] {
    return resolve(r, host_of("Xen", "a"), host_of("Xen", "b"), guest(DomainState::running));
  };
  CHECK_FALSE(on_xen().allowed());
  r.trust_host = true;
  CHECK(on_xen().allowed());
  CHECK(on_xen().plan.flags.has(Flag::auto_converge));
  const Resolution stopped =
      resolve(r, qemu_host("a"), qemu_host("b"), guest(DomainState::shutoff));
  CHECK(objects(stopped, Opt::auto_converge, 0));
  // A driver that has learnt to migrate since: what the host answers counts.
  const auto on_ch = [&] {
    return resolve(r, host_of("CH", "a"), host_of("CH", "b"), guest(DomainState::running));
  };
  CHECK(on_ch().allowed());
  r.trust_host = false;
  CHECK_FALSE(on_ch().allowed());
}

TEST_CASE("resolve: what the driver refuses needs no second reason of the host's") {
  const Resolution r = resolve(request({Opt::change_protection}), host_of("vz", "a"),
                               host_of("vz", "b"), guest(DomainState::running));
  CHECK(r.objections.size() == 1);
}

TEST_CASE("resolve: a bare host is the source's kind of URI there, over ssh") {
  CHECK(*destination_uri("qemu:///system", "host2") == "qemu+ssh://host2/system");
  CHECK(*destination_uri("xen:///system", "me@host2") == "xen+ssh://me@host2/system");
  CHECK(*destination_uri("qemu:///system", "qemu+tcp://host2/system") == "qemu+tcp://host2/system");
  CHECK(*destination_uri("test:///default?rules=vz", "other") == "test:///other?rules=vz");
  CHECK(*destination_uri("test:///w.xml?host=a", "b") == "test:///w.xml?host=b");
  CHECK_FALSE(destination_uri("qemu:///system", "qemu+bogus://h/").has_value());
}

TEST_CASE("resolve: compression is filled in from its tuning") {
  const Resolution r = on_qemu(request({Opt::compression_xbzrle_cache}));
  CHECK(r.allowed());
  CHECK(r.plan.flags.has(Flag::compressed));
  REQUIRE(r.plan.params.get<std::string>("compression") != nullptr);
  CHECK(*r.plan.params.get<std::string>("compression") == "xbzrle");
}

TEST_CASE("resolve: of a guest that cannot move there are no phases to tell") {
  const auto on = [](const char* type, DomainState state) {
    return resolve(request({}), host_of(type, "a"), host_of(type, "b"), guest(state));
  };
  for (const Resolution& r : {on("CH", DomainState::running), on("Xen", DomainState::shutoff)}) {
    CHECK_FALSE(r.allowed());
    CHECK(r.steps.empty());
    CHECK(r.data.text == "nothing moves");
  }
}

TEST_CASE("resolve: shown as text and as JSON") {
  const Resolution good = on_qemu(request({Opt::tls}));
  const std::string text = plan_text(good);
  CHECK(
      text.contains("flags        0x10019 LIVE | PERSIST_DEST | UNDEFINE_SOURCE | TLS; for the "
                    "source 0x10119, with CHANGE_PROTECTION\n"));
  CHECK(text.contains("after this: web1 runs on host2"));
  const nlohmann::json json = plan_json(good);
  CHECK(json["allowed"] == true);
  CHECK(json["flags"]["hex"] == "0x10019");
  CHECK(json["flags"]["source_hex"] == "0x10119");
  CHECK(json["phases"].size() == 5);
  const Resolution bad =
      on_qemu(request({Opt::live, Opt::compressed}), guest(DomainState::shutoff));
  CHECK(plan_text(bad).contains("refused, 2 objections:"));
  CHECK(plan_json(bad)["objections"].size() == 2);
  CHECK(plan_json(bad)["objections"][0]["libvirt_code"]["number"] == kOperationInvalid);
}
