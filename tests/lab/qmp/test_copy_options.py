"""Options of the copy, each seen by what it does to the two QEMUs or to the guest."""
import signal
import time

from test_adopt import Monitor
from test_switch_over import Follower

# Memory of its own has to be copied, whatever the host.
PRIVATE = "-object memory-backend-ram,id=r,size=32M -machine memory-backend=r"


def start(w, name, fill=24):
    """Its monitor is DIR/NAME.qmp, on whichever side."""
    w.start(name, dirty=20, fill=fill,
            extra=f"{PRIVATE} -qmp unix:{w.dir}/{name}.qmp,server=on,wait=off")


def copying(info):
    return info.get("status") == "active" and info["ram"]["transferred"] > 500_000


def seen_while_copying(w, name, *options):
    """Capabilities and parameters of the source's QEMU during a slow copy, which is then ended."""
    monitor = Monitor(w.dir / f"{name}.qmp")
    moving = w.background(w.a, "migrate", name, w.b, "--bandwidth", "2", *options)
    try:
        end = time.monotonic() + 20
        while not copying(monitor.ask("query-migrate")["return"]):
            assert moving.poll() is None, moving.communicate()
            assert time.monotonic() < end
            time.sleep(0.02)
        capabilities = {c["capability"] for c in
                        monitor.ask("query-migrate-capabilities")["return"] if c["state"]}
        return capabilities, monitor.ask("query-migrate-parameters")["return"]
    finally:
        monitor.close()
        w.run(w.a, "domjobabort", name)
        text, _ = moving.communicate(timeout=30)
        assert moving.returncode == 5, text
        w.wait_counts(name, 5)
        assert len(w.processes()) == 1


def test_what_is_asked_for_is_what_qemu_does(w):
    start(w, "opts")
    always = {"events", "return-path"}
    on, values = seen_while_copying(w, "opts")
    assert on == always, on
    assert values["max-bandwidth"] == 2 << 20 and values["downtime-limit"] == 20, values
    on, values = seen_while_copying(w, "opts", "--auto-converge", "--auto-converge-initial", "30")
    assert on == always | {"auto-converge"} and values["cpu-throttle-initial"] == 30, (on, values)
    on, values = seen_while_copying(w, "opts", "--compressed", "--comp-methods", "xbzrle",
                                    "--comp-xbzrle-cache", "4194304")
    assert on == always | {"xbzrle"} and values["xbzrle-cache-size"] == 4 << 20, (on, values)
    for method in ("zlib", "zstd"):
        on, values = seen_while_copying(w, "opts", "--parallel", "--parallel-connections", "3",
                                        "--compressed", "--comp-methods", method)
        assert on == always | {"multifd"}, on
        assert values["multifd-compression"] == method and values["multifd-channels"] == 3, values


def in_parallel(w, name):
    """A copy over several connections, just when QEMU begins to open them; and its monitor."""
    follower = Follower(w.dir / f"{name}.qmp")
    moving = w.background(w.a, "migrate", name, w.b, "--bandwidth", "2", "--parallel",
                          "--parallel-connections", "8", "--compressed", "--comp-methods", "zstd")
    follower.wait("MIGRATION", "setup")
    return moving, follower


def anew(w, name):
    w.run(w.a, "destroy", name)
    (w.dir / f"{name}.serial").unlink()
    w.run(w.a, "start", name)
    w.wait_counts(name, 5)


def test_ctrl_c_while_channels_open(w):
    start(w, "early")
    for n in range(8):
        moving, follower = in_parallel(w, "early")
        time.sleep(0.003 * n)
        moving.send_signal(signal.SIGINT)
        follower.close()
        text, _ = moving.communicate(timeout=50)
        assert moving.returncode == 5, text
        w.wait_counts("early", 5)
        if "shut down and started again" in text:  # rare, and said
            anew(w, "early")
        assert len(w.processes()) == 1


def test_a_cancellation_that_qemu_never_ends(w):
    """As QEMU 7.2 does it now and then when it is told so while its channels open."""
    start(w, "never")
    for n in range(16):
        moving, follower = in_parallel(w, "never")
        time.sleep(0.0005 * n)
        follower.ask("migrate_cancel")
        follower.close()
        text, _ = moving.communicate(timeout=50)
        assert moving.returncode == 5, text
        w.wait_counts("never", 5)
        assert len(w.processes()) == 1
        if "does not bring that to an end" not in text:
            continue
        assert "shut down and started again" in text, text
        text = w.run(w.a, "migrate", "never", w.b, status=3)
        assert "shut down and started again" in text, text
        anew(w, "never")
        w.run(w.a, "migrate", "never", w.b)
        w.wait_counts("never", 5)
        return


def test_speed_and_downtime_change_while_it_copies(w):
    start(w, "speed")
    began = time.monotonic()
    moving = w.background(w.a, "migrate", "speed", w.b, "--bandwidth", "1")
    while "memory" not in w.quiet(w.a, "domjobinfo", "speed").lower():
        time.sleep(0.05)
    w.run(w.a, "migrate-setmaxdowntime", "speed", "77")
    assert "77" in w.run(w.a, "migrate-getmaxdowntime", "speed")
    w.run(w.a, "migrate-setspeed", "speed", "500")
    text, _ = moving.communicate(timeout=30)
    # At 1 MiB/s it would have taken 24 s.
    assert moving.returncode == 0 and time.monotonic() - began < 15, text
    w.wait_counts("speed", 5)


def test_a_limit_of_speed_is_kept(w):
    start(w, "limit")
    began = time.monotonic()
    w.run(w.a, "migrate", "limit", w.b, "--bandwidth", "12")
    assert time.monotonic() - began > 1.5  # 24 MiB
    w.wait_counts("limit", 5)


def test_a_paused_guest_arrives_paused(w):
    start(w, "still", fill=4)
    w.run(w.a, "suspend", "still")
    w.run(w.a, "migrate", "still", w.b, "--persistent", "--undefinesource")
    assert w.states(w.a) == {} and w.states(w.b) == {"still": "paused"}
    w.run(w.b, "resume", "still")
    w.wait_counts("still", 5)
    w.run(w.b, "destroy", "still")
    assert w.states(w.b) == {"still": "shut off"}  # it was defined there


def test_a_guest_that_is_not_kept_is_gone_when_it_ends(w):
    start(w, "brief", fill=4)
    w.run(w.a, "migrate", "brief", w.b, "--no-persistent", "--no-undefinesource")
    w.wait_counts("brief", 5)
    assert w.states(w.a) == {"brief": "shut off"}
    w.run(w.b, "destroy", "brief")
    assert w.states(w.b) == {}
