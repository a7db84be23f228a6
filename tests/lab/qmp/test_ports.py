"""Where the data goes: through a socket within one machine, else to ports that nobody else has."""
import json
import os
import socket
import stat
import subprocess

from test_host_to_host import slow
from test_kills import PRIVATE


def listener(port=0):
    one = socket.socket()
    one.bind(("0.0.0.0", port))
    one.listen()
    one.settimeout(0.2)
    return one


def nobody_came(one):
    try:
        one.accept()
        return False
    except TimeoutError:
        return True


def test_a_port_of_somebody_else(w):
    w.start("port", extra=PRIVATE)
    stranger = listener()
    number = stranger.getsockname()[1]
    text = w.run(w.a, "migrate", "port", w.b, "--migrateuri", f"tcp://127.0.0.1:{number}", status=1)
    assert "in use" in text, text
    assert nobody_came(stranger)
    w.wait_counts("port", 3)
    assert w.states(w.a) == {"port": "running"} and w.states(w.b) == {}
    assert len(w.processes()) == 1
    stranger.close()
    w.run(w.a, "migrate", "port", w.b, "--migrateuri", f"tcp://127.0.0.1:{number}")
    w.wait_counts("port", 3)


def test_the_first_ports_of_the_range_are_taken(w):
    w.start("range", extra=PRIVATE)
    strangers = []
    for number in range(49152, 49156):
        try:
            strangers.append(listener(number))
        except OSError:
            continue  # taken by yet another one, which is as good
    w.run(w.a, "migrate", "range", w.b, "--migrateuri", "tcp://127.0.0.1")
    w.wait_counts("range", 3)
    assert all(nobody_came(one) for one in strangers)
    for one in strangers:
        one.close()


def sockets_for_data(w):
    return list(w.dir.glob("*/run/*/in"))


def test_within_one_machine_no_port_is_opened(w):
    w.start("near", extra=PRIVATE, dirty=20, fill=24)
    text = w.run(w.a, "migrate", "near", w.b, "--dry-run")
    assert "private unix socket" in text and "49152" not in text, text
    for options in ([], ["--parallel"]):
        moving, new = slow(w, "near", *options)
        [path] = sockets_for_data(w)
        assert stat.S_IMODE(os.stat(path.parent).st_mode) == 0o700
        listeners = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
        assert f"pid={new}," not in listeners, listeners
        w.run(w.a, "domjobabort", "near")
        moving.communicate(timeout=20)
        assert not sockets_for_data(w)
    moving, _ = slow(w, "near")
    moving.kill()
    moving.communicate()
    w.run(w.b, "cleanup")
    w.run(w.a, "cleanup")
    assert not sockets_for_data(w)
    w.run(w.a, "migrate", "near", w.b)
    w.wait_counts("near", 3)
    assert not sockets_for_data(w) and len(w.processes()) == 1


def test_the_last_bytes_over_tcp_are_not_held_back(w):
    """A peer acknowledges late, by 40 ms; the guest would stand still for as long each time."""
    w.start("quick")
    pauses = []
    for source, target in ((w.a, w.b), (w.b, w.a)) * 3:
        text = w.quiet(source, "--output", "json", "migrate", "quick", target, "--migrateuri",
                       "tcp://127.0.0.1")
        pauses.append(json.loads(text)["stats"].get("downtime", 0))
    assert min(pauses) < 30, pauses
