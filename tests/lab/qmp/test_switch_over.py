"""Killed, or hung, in the moment at which the guest changes hands."""
import itertools
import os
import re
import signal
import time

from test_adopt import Monitor
from test_upgrade import other_process

PRIVATE = "-object memory-backend-ram,id=r,size=32M -machine memory-backend=r"


class Follower(Monitor):
    """Sees QEMU's events in the order in which they come."""

    def wait(self, name, status=None, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            line = self.lines.readline()
            assert line, "QEMU is gone"
            if f'"{name}"' in line and (not status or f'"{status}"' in line):
                return
        raise AssertionError(f"no {name}")


def start(w, name, extra="", **options):
    w.start(name, extra=f"{extra} -qmp unix:{w.dir}/{name}.qmp,server=on,wait=off", **options)


STOPS, SENT = ("STOP",), ("MIGRATION", "completed")


def at_the_switch(w, name, number, *options, victim="incoming", moment=STOPS):
    """A migration whose incoming (or outgoing) QEMU gets a signal when the source says that."""
    [source] = w.processes()
    follower = Follower(w.dir / f"{name}.qmp")
    moving = w.background(w.a, "migrate", name, w.b, *options)
    incoming = other_process(w, source)  # once the moment is there, it would be over meanwhile
    follower.wait(*moment)
    os.kill(incoming if victim == "incoming" else source, number)
    follower.close()
    text = moving.communicate(timeout=120)[0]
    return moving.returncode, text, source, incoming


def settled(w):
    """After cleanup on both sides; the hosts where it runs."""
    told = "".join(w.run(host, "cleanup") for host in (w.b, w.a))
    return [host for host in (w.a, w.b) if "running" in w.states(host).values()], told


def back_at_a(w, name):
    if name in w.states(w.b):
        w.run(w.b, "migrate", name, w.a)
    w.wait_counts(name, 3)
    assert w.states(w.a) == {name: "running"} and w.states(w.b) == {}
    assert len(w.processes()) == 1


def hit(w, name, number, tries, *options, moment=STOPS):
    """As often as it takes until the signal was in time; exit statuses that came."""
    seen = []
    for _ in range(tries):
        status, text, source, incoming = at_the_switch(w, name, number, *options, moment=moment)
        seen.append(status)
        assert status in (0, 1, 5, 6, 7), (status, text)
        if status == 7:  # nobody can know whether it ran: so it is told, and both stand still
            assert re.search("undecided|recover", text), text
            for pid in w.processes():
                os.kill(pid, signal.SIGKILL)
            (w.dir / f"{name}.serial").unlink()
            w.run(w.a, "start", name)
        elif status in (0, 6) and incoming not in w.processes():  # killed when all was over
            (w.dir / f"{name}.serial").unlink()
            w.run(w.a, "start", name)
        elif status in (0, 6):  # it was all over, and the destination did not answer any more
            os.kill(incoming, signal.SIGCONT)
        else:
            w.wait_counts(name, 3)
            assert w.processes() == [source], (w.processes(), text)
            assert not [e for e in os.listdir(w.dir / "b/run") if not e.endswith(".job")]
        back_at_a(w, name)
        if status in (1, 5):
            return seen
    raise AssertionError(seen)


def test_incoming_qemu_killed_at_the_switch(w):
    start(w, "s1", dirty=20, fill=24)
    hit(w, "s1", signal.SIGKILL, 20)


def test_incoming_qemu_hangs_at_the_switch(w):
    start(w, "s2", dirty=20, fill=24)
    hit(w, "s2", signal.SIGSTOP, 20, "--max-freeze", "2")


def test_incoming_qemu_hangs_when_it_has_everything(w):
    """Before it is told to run the guest, or as it is."""
    start(w, "s7", dirty=20, fill=24)
    hit(w, "s7", signal.SIGSTOP, 20, moment=SENT)


def given_up_at_the_switch(w, name, *options):
    """A destination that takes no more of a guest with a lot of device state; the source's log."""
    start(w, name, dirty=20, fill=24, extra="-trace handle_qmp_command "
          + "-device e1000e,romfile= " * 20)
    status, text, source, _ = at_the_switch(w, name, signal.SIGSTOP, "--max-freeze", "1", *options)
    assert status == 5 and "stood still for too long" in text, (status, text)
    w.wait_counts(name, 3)
    assert w.processes() == [source]
    [log] = (w.dir / "a/state/logs").glob("*.log")
    told = log.read_text()
    w.run(w.a, "migrate", name, w.b)
    w.wait_counts(name, 3)
    return told


def test_a_source_that_hangs_in_its_devices_is_yanked(w):
    """More state than the socket takes: QEMU waits with its lock held, and answers to `yank` only."""
    told = given_up_at_the_switch(w, "s6")
    assert '"exec-oob": "yank"' in told, told[-2000:]


def test_a_source_that_waits_for_the_other_side_over_tcp_is_cancelled(w):
    told = given_up_at_the_switch(w, "s8", "--migrateuri", "tcp://127.0.0.1")
    assert '"migrate_cancel"' in told, told[-2000:]


def test_source_qemu_killed_at_the_switch(w):
    """The guest is where all of it is; or it is gone with its QEMU, and that is said."""
    start(w, "s3", dirty=20, fill=24)
    tunnelled = ["--p2p", "--tunnelled"]
    for options, moment in itertools.product([[], tunnelled], [STOPS, SENT, STOPS, SENT]):
        status, text, _, incoming = at_the_switch(w, "s3", signal.SIGKILL, *options,
                                                  victim="source", moment=moment)
        if status == 0:
            assert w.processes() == [incoming], text
        else:
            assert status in (1, 7) and w.processes() == [], (status, text)
            (w.dir / "s3.serial").unlink()
            w.run(w.a, "start", "s3")
        back_at_a(w, "s3")


def test_client_killed_around_the_switch(w):
    """`cleanup` finds out where it is, and lets that copy alone run."""
    start(w, "s4", dirty=20, fill=24)
    for n in range(10):
        [source] = w.processes()
        follower = Follower(w.dir / "s4.qmp")
        moving = w.background(w.a, "migrate", "s4", w.b)
        follower.wait("STOP")
        time.sleep(0.001 * n)
        moving.kill()
        follower.close()
        moving.communicate(timeout=20)
        running, told = settled(w)
        assert len(running) == 1 and len(w.processes()) == 1, (n, running, told, source)
        back_at_a(w, "s4")


def follower_of_the_new(w, name, moving):
    """Its socket has a name a moment before QEMU listens on it."""
    while True:
        try:
            return Follower(w.dir / f"{name}.qmp.new")
        except (FileNotFoundError, ConnectionRefusedError):
            assert moving.poll() is None, moving.communicate()
            time.sleep(0.001)


def test_a_guest_that_dies_as_it_arrives_is_told(w):
    """Within the time that it is watched; a little later it is a guest that ended by itself."""
    for n in range(5):
        name = f"s5{n}"
        start(w, name, dirty=20, fill=24)
        [source] = w.processes()
        moving = w.background(w.a, "migrate", name, w.b)
        follower = follower_of_the_new(w, name, moving)
        follower.wait("RESUME")
        for pid in w.processes():
            if pid != source:
                os.kill(pid, signal.SIGKILL)
        follower.close()
        text = moving.communicate(timeout=60)[0]
        seen = moving.returncode
        assert seen in (0, 1, 7), (seen, text)
        if seen == 1 and "running" in w.states(w.a).values():
            # QEMU tells each monitor in turn, and only then starts the CPUs: it was killed when
            # it had told this one, but not vmferry's. It never ran there.
            assert "after it had let the guest run" not in text, text
            w.wait_counts(name, 3)
            w.run(w.a, "destroy", name)
            continue
        # It ran there: the copy here is never let run again by us.
        assert "running" not in w.states(w.a).values(), text
        for pid in w.processes():
            os.kill(pid, signal.SIGKILL)
        if seen != 0:
            told = ("ended within 10 ms", "after it had let the guest run", "started the guest, but")
            assert any(words in text for words in told), text
            return
    raise AssertionError("never in time")
