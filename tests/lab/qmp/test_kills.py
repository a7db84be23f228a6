"""What is killed or cut at each step: one runnable copy, nothing left over, and the truth told."""
import os
import signal
import time

from test_adopt import Monitor

PRIVATE = "-object memory-backend-ram,id=r,size=32M -machine memory-backend=r"


def start(w, name):
    w.start(name, dirty=20, fill=24,
            extra=f"{PRIVATE} -qmp unix:{w.dir}/{name}.qmp,server=on,wait=off")


def copying(w, name, *options):
    """A migration at 2 MiB/s, begun; and the incoming QEMU's process id."""
    [source] = w.processes()
    moving = w.background(w.a, "migrate", name, w.b, "--bandwidth", "2", *options)
    monitor = Monitor(w.dir / f"{name}.qmp")
    end = time.monotonic() + 20
    while monitor.ask("query-migrate")["return"].get("status") != "active":
        assert moving.poll() is None and time.monotonic() < end, moving.communicate()
        time.sleep(0.02)
    monitor.close()
    [incoming] = [pid for pid in w.processes() if pid != source]
    return moving, source, incoming


def left_at_the_source(w, name, source):
    w.wait_counts(name, 5)
    assert w.processes() == [source]
    assert w.states(w.a) == {name: "running"} and w.states(w.b) == {}
    assert not [e for e in os.listdir(w.dir / "b/run") if not e.endswith(".job")]


def test_incoming_qemu_killed_while_it_copies(w):
    start(w, "f1")
    moving, source, incoming = copying(w, "f1")
    os.kill(incoming, signal.SIGKILL)
    text, _ = moving.communicate(timeout=30)
    assert moving.returncode == 1, text
    left_at_the_source(w, "f1", source)
    w.run(w.a, "migrate", "f1", w.b)  # and again
    w.wait_counts("f1", 5)


def test_source_qemu_killed_while_it_copies(w):
    start(w, "f2")
    moving, source, _ = copying(w, "f2")
    os.kill(source, signal.SIGKILL)
    text, _ = moving.communicate(timeout=60)
    assert moving.returncode == 1 and "migrate.lost" in text, text
    assert w.processes() == [] and w.states(w.a) == {"f2": "shut off"} and w.states(w.b) == {}


def test_client_killed_while_it_copies(w):
    start(w, "f3")
    moving, source, incoming = copying(w, "f3")
    moving.kill()
    moving.communicate(timeout=10)
    w.run(w.b, "cleanup")
    w.run(w.a, "cleanup")
    left_at_the_source(w, "f3", source)


def test_interrupted_by_the_user(w):
    start(w, "f4")
    moving, source, _ = copying(w, "f4")
    moving.send_signal(signal.SIGINT)
    text, _ = moving.communicate(timeout=30)
    assert moving.returncode == 5, text
    left_at_the_source(w, "f4", source)


def test_incoming_qemu_that_hangs_is_given_up(w):
    start(w, "f5")
    moving, source, incoming = copying(w, "f5", "--timeout", "2", "--timeout-abort")
    os.kill(incoming, signal.SIGSTOP)
    text, _ = moving.communicate(timeout=60)
    assert moving.returncode == 5, text
    left_at_the_source(w, "f5", source)


def test_incoming_qemu_that_cannot_start_is_told_with_its_words(w):
    start(w, "f6")
    [source] = w.processes()
    xml = w.quiet(w.a, "dumpxml", "f6").replace("-nodefaults", "-no-such-option")
    (w.dir / "bad.xml").write_text(xml)
    text = w.run(w.a, "migrate", "f6", w.b, "--xml", f"{w.dir}/bad.xml", status=1)
    assert "no-such-option" in text, text
    left_at_the_source(w, "f6", source)
