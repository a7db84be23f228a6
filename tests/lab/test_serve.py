"""Stock virsh, python-libvirt and vmferry against two `vmferry serve` with simulated hosts."""
import os
import pwd
import re
import signal
import socket
import struct
import time
from pathlib import Path

import libvirt

from namespaces import wait_for
from servers import Connection, EventLoop, Pair, Server, run

KINDS = ([], ["--p2p"], ["--p2p", "--tunnelled"])
ANY = ["--p2p-any-uri"]  # the destination's URI names a socket


def ours(kind):
    return kind + (ANY if kind else [])


def virsh(server, *argv, program=("virsh",), env=None, seconds=60):
    return run(*program, "-c", server.uri, *argv, env=env, seconds=seconds)


def good(done, *words):
    assert done.status == 0, done
    for word in words:
        assert word in done.out, (word, str(done))
    return done.out


# -- looking ----------------------------------------------------------------------------------------

def look_with(server, program=("virsh",), env=None):
    def ask(*argv):
        return virsh(server, *argv, program=program, env=env)
    good(ask("list", "--all"), "web1", "running", "idle1", "shut off")
    good(ask("list", "--all", "--title", "--persistent", "--without-managed-save"), "web1")
    good(ask("dominfo", "web1"), "web1", "running", "Persistent:", "Autostart:",
         "Managed save:   no")
    good(ask("domstate", "--reason", "web1"), "running (booted)")
    good(ask("dumpxml", "web1"), "<name>web1</name>")
    good(ask("domid", "web1"))
    good(ask("domuuid", "web1"))
    good(ask("domjobinfo", "web1"), "None")
    good(ask("capabilities"), "<capabilities>")
    good(ask("domcapabilities"), "<domainCapabilities>")
    good(ask("nodeinfo"), "CPU(s):")
    good(ask("hostname"), "default")
    good(ask("uri"), "test")
    good(ask("version"), "Running hypervisor")
    good(ask("migrate-getmaxdowntime", "web1"))
    absent = ask("domstate", "nosuch")
    assert absent.status == 1 and "failed to get domain 'nosuch'" in absent.err, absent


def test_serve_virsh_looks(lab):
    with Pair(lab) as pair:
        look_with(pair.a)


def test_serve_virsh_life_cycle(lab):
    with Pair(lab) as pair:
        def ask(*argv):
            return good(virsh(pair.a, *argv))
        ask("suspend", "web1")
        assert pair.a.state("web1") == "paused"
        ask("resume", "web1")
        ask("autostart", "web1")
        assert "enable" in ask("dominfo", "web1")
        ask("autostart", "--disable", "web1")
        xml = ask("dumpxml", "--inactive", "idle1")
        xml = xml.replace("idle1", "extra")
        xml = "\n".join(line for line in xml.splitlines() if "<uuid>" not in line)
        path = Path(pair.dir) / "extra.xml"
        path.write_text(xml)
        ask("create", str(path))
        assert pair.a.state("extra") == "running"
        ask("destroy", "extra")
        assert pair.a.state("extra") is None
        ask("define", str(path))
        ask("start", "extra")
        ask("shutdown", "extra")
        ask("undefine", "extra")
        assert pair.a.state("extra") is None


# -- migrating --------------------------------------------------------------------------------------

def migrate_with(pair, program=("virsh",), env=None):
    """There with each kind, and back by ours; all of it says its progress."""
    for kind in KINDS:
        done = virsh(pair.a, "migrate", "--live", "--persistent", "--undefinesource", "--verbose",
                     *kind, "web1", pair.b.uri, program=program, env=env)
        assert done.status == 0, (kind, str(done))
        assert re.search(r"100(\.00)? %", done.out + done.err), (kind, str(done))
        pair.check_at("b")
        back = pair.ferry("-c", pair.b.uri, "migrate", *ours(kind), "web1", pair.a.uri)
        assert back.status == 0 and "web1 is on" in back.out, (kind, str(back))
        pair.check_at("a")


def test_serve_virsh_migrates(lab):
    with Pair(lab, speed=30) as pair:
        migrate_with(pair)


def test_serve_virsh_offline_paused_named(lab):
    with Pair(lab, speed=30) as pair:
        good(virsh(pair.a, "migrate", "--offline", "--persistent", "idle1", pair.b.uri))
        assert pair.b.state("idle1") == "shutoff"
        good(virsh(pair.a, "migrate", "--live", "--suspend", "web1", pair.b.uri))
        assert pair.b.state("web1") == "paused"
        good(virsh(pair.a, "migrate", "--live", "db1", pair.b.uri, "--dname", "db9"))
        assert pair.b.state("db9") == "running"


def test_serve_virsh_unix_data_socket(lab):
    with Pair(lab, speed=30) as pair:
        data = f"{pair.dir}/data.sock"
        good(virsh(pair.a, "migrate", "--live", "web1", pair.b.uri, "--migrateuri",
                   f"unix://{data}"))
        pair.check_at("b")
        assert not os.path.exists(data)


def abort_with(pair, start, abort):
    """A slow migration of each kind is started, seen and aborted; the guest stays."""
    for kind in KINDS:
        client = start(kind)
        pair.wait_copying(pair.a)
        abort(client)
        out, err = client.communicate(timeout=30)
        assert client.returncode != 0, (kind, out, err)
        pair.check_at("a")
        assert pair.b.state("web1") is None, kind
        with Connection(pair.a.uri) as connection:
            assert connection.lookupByName("web1").jobStats().get("memory_total", 0) == 0
    return err


def test_serve_virsh_aborts(lab):
    with Pair(lab, speed=1) as pair:
        error = abort_with(
            pair,
            lambda kind: pair.start("virsh", "-c", pair.a.uri, "migrate", "--live", *kind,
                                    "--bandwidth", "1", "web1", pair.b.uri),
            lambda _: good(virsh(pair.a, "domjobabort", "web1")))
        assert "canceled by client" in error, error


def test_serve_vmferry_aborts(lab):
    with Pair(lab, speed=1) as pair:
        error = abort_with(
            pair,
            lambda kind: pair.start(pair.vmferry, "-c", pair.a.uri, "migrate", "--live",
                                    *ours(kind), "--bandwidth", "1", "web1", pair.b.uri),
            lambda client: client.send_signal(signal.SIGINT))
        assert "migrate.cancelled" in error, error


def test_serve_progress(lab):
    with Pair(lab, speed=1) as pair:
        client = pair.start("virsh", "-c", pair.a.uri, "migrate", "--live", "--bandwidth", "20",
                            "--verbose", "web1", pair.b.uri)
        pair.wait_copying(pair.a)
        good(virsh(pair.a, "domjobinfo", "web1"), "Unbounded", "Memory total:", "Memory bandwidth:")
        good(pair.ferry("-c", pair.a.uri, "domjobinfo", "web1"), "Unbounded", "Memory total:")
        good(virsh(pair.a, "migrate-setspeed", "web1", "2000"))
        out, err = client.communicate(timeout=60)
        assert client.returncode == 0, out + err
        shown = [float(part.strip(" [%]")) for line in (out + err).replace("\r", "\n").splitlines()
                 if (part := line.rpartition(":")[2]).strip().startswith("[")]
        assert len(set(shown)) > 3 and shown[0] < 50 and shown[-1] == 100, out + err
        pair.check_at("b")
        good(virsh(pair.a, "domjobinfo", "--completed", "web1"), "Completed", "Total downtime")


# -- python-libvirt ---------------------------------------------------------------------------------

def test_serve_python_looks_and_is_told(lab):
    EventLoop.start()
    seen = []
    with Pair(lab) as pair, Connection(pair.a.uri) as connection:
        number = connection.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
            lambda _c, domain, event, _detail, _o: seen.append((domain.name(), event)), None)
        domain = connection.lookupByName("web1")
        assert domain.info()[0] == libvirt.VIR_DOMAIN_RUNNING
        assert domain.isActive() and domain.isPersistent() and not domain.isUpdated()
        assert not domain.hasManagedSaveImage() and domain.snapshotNum() == 0
        assert {one.name() for one in connection.listAllDomains()} >= {"web1", "db1", "idle1"}
        assert connection.numOfDomains() == len(connection.listDomainsID()) == 2
        assert "idle1" in connection.listDefinedDomains()
        assert connection.lookupByID(domain.ID()).UUID() == domain.UUID()
        assert connection.isAlive() and connection.getFreeMemory() > 0
        domain.suspend()
        domain.resume()
        wait_for("both events", lambda: ("web1", libvirt.VIR_DOMAIN_EVENT_SUSPENDED) in seen
                 and ("web1", libvirt.VIR_DOMAIN_EVENT_RESUMED) in seen)
        connection.domainEventDeregisterAny(number)


def test_serve_python_migrates(lab):
    live = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PERSIST_DEST
    p2p = live | libvirt.VIR_MIGRATE_PEER2PEER
    moves = (("managed", lambda d, c, u: d.migrate3(c, {}, live)),
             ("old managed", lambda d, c, u: d.migrate(c, live, None, None, 0)),
             ("second", lambda d, c, u: d.migrate2(c, None, live, None, None, 0)),
             ("p2p", lambda d, c, u: d.migrateToURI3(u, {}, p2p)),
             ("tunnelled", lambda d, c, u: d.migrateToURI3(u, {}, p2p
                                                           | libvirt.VIR_MIGRATE_TUNNELLED)),
             ("p2p2", lambda d, c, u: d.migrateToURI2(u, None, None, p2p, None, 0)))
    with Pair(lab, speed=50) as pair:
        here, there = pair.a, pair.b
        for name, move in moves:
            with Connection(here.uri) as source, Connection(there.uri) as destination:
                move(source.lookupByName("web1"), destination, there.uri)
                assert destination.lookupByName("web1").state() == [1, 2], name  # running, migrated
                assert not source.lookupByName("web1").isActive()
            here, there = there, here


def test_serve_python_postcopy(lab):
    flags = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_POSTCOPY
    with Pair(lab, speed=5) as pair:
        with Connection(pair.a.uri) as source, Connection(pair.b.uri) as destination:
            EventLoop.start()
            domain = source.lookupByName("db1")
            switched = []

            def switch(_connection, one, iteration, _opaque):
                if iteration >= 2 and not switched:
                    switched.append(iteration)
                    pair_switch.append(run("virsh", "-c", pair.a.uri, "migrate-postcopy",
                                           one.name()))
            pair_switch = []
            source.domainEventRegisterAny(domain, libvirt.VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION,
                                          switch, None)
            domain.migrateSetMaxDowntime(1)
            domain.migrate3(destination, {}, flags)
            assert switched and pair_switch[0].status == 0, pair_switch
        pair.check_at("b", "db1")


# -- the newer release ------------------------------------------------------------------------------

def newer_virsh():
    import backports
    root = backports.root()
    program = f"{root}/usr/bin/virsh"
    env = {"LD_LIBRARY_PATH": f"{root}/usr/lib/x86_64-linux-gnu:{root}/lib/x86_64-linux-gnu"}
    version = run(program, "--version", env=env)
    assert version.status == 0 and int(version.out.split(".")[0]) > 9, version
    return (program,), env


def test_serve_mixed_newer_virsh(lab):
    program, env = newer_virsh()
    with Pair(lab, speed=30) as pair:
        look_with(pair.a, program, env)
        migrate_with(pair, program, env)


test_serve_mixed_newer_virsh.hosts = "mixed"


# -- over ssh ---------------------------------------------------------------------------------------

def ssh_uri(lab, host, name, program):
    return (f"test+ssh://root@{host.name}/{name}?keyfile={lab.dir}/id"
            f"&known_hosts={lab.dir}/known_hosts&vmferry={program}")


def test_serve_over_ssh_migrates_between_hosts(lab):
    result = lab.ferry("-c", ssh_uri(lab, lab.source, "default", lab.vmferry), "list", "--all")
    assert result.status == 0 and "web1" in result.out, result
    result = lab.ferry("-c", ssh_uri(lab, lab.source, "default", lab.vmferry), "migrate", "--live",
                       "web1",
                       ssh_uri(lab, lab.destination, "other", lab.vmferry))
    assert result.status == 0 and "web1 is on" in result.out, result


def test_serve_over_ssh_without_vmferry(lab):
    result = lab.ferry("-c", ssh_uri(lab, lab.source, "default", "/nonexistent/vmferry"), "list")
    assert result.status == 4, result
    assert "host1" in result.err and "Install vmferry there" in result.err, result


def test_serve_over_ssh_other_version(lab):
    said = ("error: serve has no option --protocol", 2), ("protocol 1 is asked for", 4)
    for number, (text, status) in enumerate(said):
        path = lab.write(f"other{number}", f"#!/bin/sh\necho '{text}' >&2\nexit {status}\n")
        os.chmod(path, 0o755)
        result = lab.ferry("-c", ssh_uri(lab, lab.source, "default", path), "list")
        assert result.status == 4 and "ssh.version" in result.err, result
        assert text in result.err and "Install the same version" in result.err, result


def test_serve_refuses_another_protocol(lab):
    done = run(lab.vmferry, "serve", "--stdio", "--protocol", "77")
    assert done.status == 4 and "protocol 77 is asked for" in done.err, done


# -- ending -----------------------------------------------------------------------------------------

def test_serve_sigterm_lets_a_migration_finish(lab):
    with Pair(lab, speed=1) as pair:
        idle = pair.a.open()
        client = pair.start("virsh", "-c", pair.a.uri, "migrate", "--live", "--bandwidth", "150",
                            "web1", pair.b.uri)
        pair.wait_copying(pair.a)
        pair.a.process.send_signal(signal.SIGTERM)
        out, err = client.communicate(timeout=60)
        assert client.returncode == 0, out + err
        assert pair.a.process.wait(timeout=10) == 0
        assert "clients with work under way" in pair.a.said()
        assert pair.b.state("web1") == "running"
        assert not os.path.exists(pair.a.path)
        del idle


def test_serve_sigterm_rolls_back_what_takes_too_long(lab):
    with Pair(lab, speed=1) as pair:
        client = pair.start("virsh", "-c", pair.a.uri, "migrate", "--live", "--bandwidth", "5",
                            "web1", pair.b.uri)
        pair.wait_copying(pair.a)
        begin = time.monotonic()
        pair.b.process.send_signal(signal.SIGTERM)
        out, err = client.communicate(timeout=60)
        assert client.returncode != 0 and time.monotonic() - begin > 25, out + err
        assert pair.b.process.wait(timeout=10) == 0
        assert pair.a.state("web1") == "running"
        jobs = pair.a.open().lookupByName("web1").jobStats()
        assert jobs.get("operation") is None, jobs


def test_serve_sigterm_leaves_idle_clients(lab):
    with Pair(lab) as pair:
        idle = pair.a.open()
        begin = time.monotonic()
        pair.a.process.send_signal(signal.SIGTERM)
        assert pair.a.process.wait(timeout=10) == 0
        assert time.monotonic() - begin < 5
        del idle


# -- strangers and limits ---------------------------------------------------------------------------

def answered(path):
    """Whether an AUTH_LIST there is answered; for a child process with another user's rights."""
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(5)
        try:
            one.connect(path)
            one.sendall(struct.pack(">IIIIIII", 28, 0x20008086, 1, 66, 0, 1, 0))
            return bool(one.recv(4))
        except OSError:
            return False


def as_nobody(function, *args):
    pid = os.fork()
    if pid == 0:
        status = 9
        try:
            nobody = pwd.getpwnam("nobody")
            os.setgroups([])
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
            status = 1 if function(*args) else 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_serve_unix_mode_and_peer(lab):
    with Pair(lab) as pair:
        os.chmod(pair.dir, 0o755)
        assert os.stat(pair.a.path).st_mode & 0o777 == 0o600
        assert answered(pair.a.path)
        os.chmod(pair.a.path, 0o666)  # the mode is lost, the credentials are not
        assert as_nobody(answered, pair.a.path) == 0
        pair.a.close()
        pair.a = Server(lab.vmferry, pair.dir, "default", "--socket-mode", "0666")
        assert os.stat(pair.a.path).st_mode & 0o777 == 0o666
        assert "every user of this machine" in pair.a.said()
        assert as_nobody(answered, pair.a.path) == 1


def test_serve_tcp_is_for_loopback(lab):
    for address in ("0.0.0.0", "127.0.0.1.example.org", "127.evil"):
        refused = run(lab.vmferry, "serve", "--listen", f"tcp:{address}:0")
        assert refused.status == 3 and "--insecure-tcp" in refused.err, refused
    directory = f"{lab.dir}/tcp"
    os.makedirs(directory)
    for options, listen, words in (([], "tcp:127.0.0.1:0", "serving"),
                                   (["--insecure-tcp"], "tcp:0.0.0.0:0", "no encryption")):
        server = Server(lab.vmferry, directory, "default", *options, listen=listen)
        try:
            assert words in server.said()
            port = server.said().strip().rpartition(":")[2]
            with Connection(f"test+tcp://127.0.0.1:{port}/default") as connection:
                assert connection.lookupByName("web1").isActive()
        finally:
            server.close()


def test_serve_many_hostile_clients(lab):
    with Pair(lab) as pair:
        pair.a.close()
        pair.a = Server(lab.vmferry, pair.dir, "default",
                        prefix=("prlimit", "--nofile=300:300"))
        hostile = []
        for number in range(150):
            one = pair.a.raw()
            if number % 3 == 0:
                one.sendall(os.urandom(200))
            elif number % 3 == 1:
                one.sendall(b"\0\0")
            hostile.append(one)
        good(virsh(pair.a, "list", "--all"), "web1")
        for _ in range(200):  # more than there is room for
            hostile.append(pair.a.raw())
        time.sleep(0.5)
        for one in hostile:
            one.close()
        wait_for("the server to be free again",
                 lambda: virsh(pair.a, "list", "--all").status == 0)


# -- the contract of every Host, over real daemons --------------------------------------------------

def test_contract_of_real_daemons(lab):
    program = Path(lab.vmferry).parent / "tests/contract_real"
    guest = lab.guest(persistent=True, ticks=1)
    result = lab.finish(lab.client(str(program), lab.source.uri(), lab.destination.uri(),
                                   guest.name), 120)
    assert result.status == 0, result
