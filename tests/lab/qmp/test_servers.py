"""The far end is `vmferry serve`: over unix sockets and tcp."""
import contextlib
import shutil
import socket
import subprocess
import time


@contextlib.contextmanager
def served(w, *listen):
    """One server for each host; its URI is made of where it listens."""
    servers = [subprocess.Popen([w.vmferry, "serve", "--listen", where,
                                 f"qmp:///session?dir={w.dir}/{name}"], stderr=subprocess.PIPE)
               for name, where in zip("ab", listen)]
    try:
        for server in servers:
            line = server.stderr.readline()
            assert b"serving" in line, line
        yield
    finally:
        for server in servers:
            server.terminate()
            server.wait(timeout=40)
            server.stderr.close()


def there_and_back(w, name, a, b):
    w.run(a, "migrate", name, b)
    w.wait_counts(name, 5)
    assert w.states(w.a) == {} and w.states(b) == {name: "running"}
    w.run(b, "migrate", name, a, "--migrateuri", f"unix:{w.dir}/data")
    w.wait_counts(name, 5)
    assert w.states(w.b) == {} and len(w.processes()) == 1


def test_over_unix_sockets(w):
    w.start("far1", dirty=20)
    with served(w, f"unix:{w.dir}/a.sock", f"unix:{w.dir}/b.sock"):
        there_and_back(w, "far1", *(f"qmp+unix:///session?socket={w.dir}/{n}.sock" for n in "ab"))


def test_over_tcp(w):
    w.start("far2", dirty=20)
    ports = []
    for _ in "ab":
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    with served(w, *(f"tcp:127.0.0.1:{port}" for port in ports)):
        a, b = (f"qmp+tcp://127.0.0.1:{port}/session" for port in ports)
        there_and_back(w, "far2", a, b)
        # A stopped guest is a definition, which travels alone.
        w.run(a, "destroy", "far2")
        w.run(a, "migrate", "far2", b)
        assert w.states(w.a) == {} and w.states(w.b) == {"far2": "shut off"}


def test_a_server_that_dies_while_the_guest_is_copied_leaves_it_running(w):
    w.start("far3", dirty=20, fill=24,
            extra="-object memory-backend-ram,id=r,size=32M -machine memory-backend=r")
    with served(w, f"unix:{w.dir}/a.sock", f"unix:{w.dir}/b.sock"):
        victim = subprocess.Popen([w.vmferry, "serve", "--listen", f"unix:{w.dir}/c.sock",
                                   f"qmp:///session?dir={w.dir}/b"], stderr=subprocess.PIPE)
        victim.stderr.readline()
        moving = w.background(w.a, "migrate", "far3",
                              f"qmp+unix:///session?socket={w.dir}/c.sock", "--bandwidth", "4")
        while len(w.processes()) < 2:
            time.sleep(0.02)
        victim.kill()
        victim.wait()
        victim.stderr.close()
        text, _ = moving.communicate(timeout=90)
    assert moving.returncode in (1, 7), text
    w.run(w.b, "cleanup")
    w.run(w.a, "cleanup")
    w.wait_counts("far3", 5)
    assert w.states(w.a) == {"far3": "running"} and w.states(w.b) == {}, text
    assert len(w.processes()) == 1


def test_stock_virsh_moves_a_guest(w):
    """libvirt's own client, where it is installed: it speaks to any server of its protocol."""
    if not shutil.which("virsh"):
        return
    w.start("far4", dirty=20)
    with served(w, f"unix:{w.dir}/a.sock", f"unix:{w.dir}/b.sock"):
        a, b = (f"qmp+unix:///session?socket={w.dir}/{n}.sock" for n in "ab")

        def virsh(uri, *argv):
            done = subprocess.run(["virsh", "-c", uri, *argv], capture_output=True, text=True,
                                  timeout=60)
            assert done.returncode == 0, done
            return done.stdout

        assert "far4" in virsh(a, "list")
        for source, target, options in ((a, b, []), (b, a, ["--p2p"]),
                                        (a, b, ["--p2p", "--tunnelled"])):
            virsh(source, "migrate", "--live", "--persistent", "--undefinesource", *options,
                  "far4", target)
            w.wait_counts("far4", 5)
            assert w.states(target) == {"far4": "running"} and w.states(source) == {}
            assert len(w.processes()) == 1


def test_stock_virsh_hears_of_every_guest(w):
    if not shutil.which("virsh"):
        return
    w.start("far5")
    told = w.dir / "events"
    with served(w, f"unix:{w.dir}/a.sock", f"unix:{w.dir}/b.sock"), open(told, "wb") as out:
        listener = subprocess.Popen(
            ["stdbuf", "-oL", "virsh", "-c", f"qmp+unix:///session?socket={w.dir}/a.sock", "event",
             "--all", "--loop"], stdout=out, stderr=out)
        try:
            end = time.monotonic() + 20
            while "'lifecycle' for domain 'far5': Suspended" not in told.read_text():
                assert listener.poll() is None and time.monotonic() < end, told.read_text()
                for step in ("suspend", "resume"):
                    w.run(w.a, step, "far5")
                time.sleep(0.1)
        finally:
            listener.terminate()
            listener.wait(timeout=20)
