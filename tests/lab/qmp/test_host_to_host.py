"""Migrations that the source host drives, with the data from QEMU to QEMU or through our own way."""
import os
import signal
import time

PRIVATE = "-object memory-backend-ram,id=r,size=32M -machine memory-backend=r"


def alone(w, host, name):
    assert w.states(host) == {name: "running"}
    assert len(w.processes()) == 1
    assert not [p for p in w.dir.rglob("tunnel")]


def test_from_host_to_host(w):
    w.start("peer", dirty=50)
    w.run(w.a, "migrate", "--p2p", "peer", w.b)
    w.wait_counts("peer", 5)
    alone(w, w.b, "peer")
    w.run(w.b, "migrate", "--p2p", "--tunnelled", "peer", w.a)
    w.wait_counts("peer", 5)
    alone(w, w.a, "peer")
    w.run(w.a, "destroy", "peer")
    w.run(w.a, "migrate", "--p2p", "--offline", "--persistent", "--undefinesource", "peer", w.b)
    assert w.states(w.a) == {} and w.states(w.b) == {"peer": "shut off"}


def test_memory_through_the_tunnel(w):
    w.start("pipe", extra=PRIVATE, dirty=20, fill=24)
    text = w.run(w.a, "migrate", "--p2p", "--tunnelled", "--dname", "other", "pipe", w.b)
    assert "running" in text, text
    w.wait_counts("pipe", 10)
    alone(w, w.b, "other")
    w.run(w.b, "migrate", "--p2p", "--tunnelled", "--suspend", "--dname", "pipe", "other", w.a)
    assert w.states(w.a) == {"pipe": "paused"}
    w.run(w.a, "resume", "pipe")
    w.wait_counts("pipe", 10)
    alone(w, w.a, "pipe")


def slow(w, name, *options):
    """A copy that would take most of a minute, once it has begun."""
    old = w.processes()
    moving = w.background(w.a, "migrate", *options, "--bandwidth", "1", name, w.b)
    end = time.monotonic() + 20
    told = ""  # an earlier copy that was stopped has figures, too, but is not under way
    while "Unbounded" not in told or "Memory processed" not in told:
        assert moving.poll() is None, moving.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)
        told = w.quiet(w.a, "domjobinfo", name)
    [new] = set(w.processes()) - set(old)
    return moving, new


def test_a_host_to_host_copy_that_is_stopped(w):
    w.start("stop", extra=PRIVATE, dirty=20, fill=24)
    for options in (["--p2p"], ["--p2p", "--tunnelled"]):
        for stop in ("abort", "ctrl-c", "kill"):
            moving, new = slow(w, "stop", *options)
            if stop == "abort":
                w.run(w.a, "domjobabort", "stop")
            elif stop == "ctrl-c":
                moving.send_signal(signal.SIGINT)
            else:
                os.kill(new, signal.SIGKILL)
            out = moving.communicate(timeout=20)[0]
            assert moving.returncode == (1 if stop == "kill" else 5), (options, stop, out)
            w.wait_counts("stop", 3)
            alone(w, w.a, "stop")
            assert w.states(w.b) == {}
