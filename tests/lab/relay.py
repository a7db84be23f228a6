"""A TCP relay in the client's network, for migration data: a path between the hosts that can break.

A migration whose --migrateuri names the relay sends its memory through it.
"""
import socket
import struct
import threading

from hosts import address

CLIENT = address(254)


class Relay:
    """Listens on a port of the client's network and leads to the same port of `host`."""

    def __init__(self, lab, host, port):
        self.space, self.target = lab.network.space, (address(host.number), port)
        self.uri = f"tcp://{CLIENT}:{port}"
        self.listener = self.space.socket_inside(
            lambda: socket.create_server((CLIENT, port), backlog=16))
        self.broken = False
        self._ends, self._lock = set(), threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, broken=True):
        """Reset every connection; as long as it is broken, new ones are reset as well."""
        self.broken = broken
        with self._lock:
            ends, self._ends = self._ends, set()
        for end in ends:
            _reset(end)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.broken:
                _reset(client)
                continue
            try:
                server = self.space.socket_inside(
                    lambda: socket.create_connection(self.target, timeout=10))
            except OSError:
                _reset(client)
                continue
            server.settimeout(None)
            with self._lock:
                self._ends |= {client, server}
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=_pump, args=(one, other), daemon=True).start()


def _pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        _reset(source)
        _reset(sink)


def _reset(end):
    """Close with a reset, and wake whoever waits on it."""
    try:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    end.close()
