"""Clients of spice are told where the guest goes."""
import socket
import struct
import subprocess

from machines import Machines
from test_adopt import Monitor


def exactly(client, size):
    got = b""
    while len(got) < size:
        piece = client.recv(size - len(got))
        assert piece, got
        got += piece
    return got


def spice_client(machine, port):
    """A main channel without abilities of its own, as spice's protocol has it (spice-protocol)."""
    def connect():
        one = socket.create_connection((machine.address, port), timeout=20)
        one.sendall(struct.pack("<4sIIIIBBIII", b"REDQ", 2, 2, 18, 0, 1, 0, 0, 0, 18))
        return one
    client = machine.space.socket_inside(connect)
    size = struct.unpack("<4sIII", exactly(client, 16))[3]
    key = exactly(client, size)[4:166]
    ticket = machine.dir / "ticket.key"
    ticket.write_bytes(key)
    client.sendall(subprocess.run(
        ["openssl", "pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", str(ticket),
         "-pkeyopt", "rsa_padding_mode:oaep"], input=b"\0", check=True, capture_output=True).stdout)
    assert exactly(client, 4) == bytes(4)
    return client


def told(client, host):
    """What comes before the server closes has the name of the host in it."""
    got = b""
    while host.encode() not in got:
        piece = client.recv(65536)
        assert piece, got
        got += piece
    return got


def test_spice_clients_are_sent_after_the_guest(w):
    with Machines(w) as (a, b):
        w.start("desk", dirty=20, extra=f"-vga std -spice port=5930,disable-ticketing=on "
                                        f"-qmp unix:{w.dir}/desk.qmp,server=on,wait=off")
        for here, there, options, name in (
                (a, b, [], "machine2"),
                (b, a, ["--graphicsuri", "spice://display.example:5931"], "display.example")):
            client = spice_client(here, 5930)
            source, target = (w.a, w.b) if here is a else (w.b, w.a)
            w.run(source, "migrate", "desk", target, *options)
            told(client, name)
            client.close()
            w.wait_counts("desk", 5)
            assert here.qemus() == [] and len(there.qemus()) == 1


def test_vnc_clients_cannot_be_told(w):
    w.start("desk", extra=f"-vnc unix:{w.dir}/vnc -qmp unix:{w.dir}/d.qmp,server=on,wait=off")
    text = w.run(w.a, "migrate", "desk", w.b, "--graphicsuri", "spice://h:5930", status=3)
    assert "clients of spice only" in text, text
    w.wait_counts("desk", 5)
    monitor = Monitor(w.dir / "d.qmp")
    assert monitor.ask("query-status")["return"]["running"]
    monitor.close()
    w.run(w.a, "migrate", "desk", w.b)


test_spice_clients_are_sent_after_the_guest.needs_root = True
