"""Ports that somebody else has: nothing is sent to him, and the range goes on after them."""
import socket

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
    w.run(w.a, "migrate", "range", w.b)
    w.wait_counts("range", 3)
    assert all(nobody_came(one) for one in strangers)
    for one in strangers:
        one.close()
