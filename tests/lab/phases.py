"""Single phases of a migration, asked of a daemon in libvirt's own RPC: what it says of flags."""
import socket
import struct

PROGRAM = 0x20008086
AUTH_LIST, OPEN, LOOKUP_BY_NAME = 66, 1, 23
BEGIN, PREPARE, FINISH, CONFIRM = 302, 303, 306, 307


class Refused(Exception):
    """An error reply: code, domain and message."""

    def __init__(self, code, domain, message):
        super().__init__(f"{code}/{domain}: {message}")
        self.code, self.domain, self.message = code, domain, message


def _word(value):
    return struct.pack(">I", value & 0xFFFFFFFF)


def _bytes(data):
    return _word(len(data)) + data + bytes(-len(data) % 4)


def _text(text):
    return _bytes(text.encode())


class _Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def word(self):
        value = struct.unpack_from(">I", self.data, self.at)[0]
        self.at += 4
        return value

    def bytes(self):
        size = self.word()
        value = self.data[self.at:self.at + size]
        self.at += size + -size % 4
        return value

    def optional_text(self):
        return self.bytes().decode(errors="replace") if self.word() else None


class Daemon:
    """A connection to a daemon: by the path of its unix socket, or by (address, port)."""

    def __init__(self, place, seconds=30, name="qemu:///system"):
        family = socket.AF_INET if isinstance(place, tuple) else socket.AF_UNIX
        self.socket = socket.socket(family)
        self.socket.settimeout(seconds)
        self.socket.connect(place)
        self.serial = 0
        self.call(AUTH_LIST)
        self.call(OPEN, _word(1) + _text(name) + _word(0))

    def call(self, procedure, arguments=b""):
        """The reply's payload; raises Refused."""
        serial = self.serial
        self.serial += 1
        head = struct.pack(">IIIIII", PROGRAM, 1, procedure, 0, serial, 0)
        self.socket.sendall(_word(4 + len(head) + len(arguments)) + head + arguments)
        while True:
            frame = self._frame()
            _, _, _, kind, answered, status = struct.unpack_from(">IIIIII", frame)
            if kind == 1 and answered == serial:
                break
        reader = _Reader(frame[24:])
        if status == 0:
            return reader
        code, domain = reader.word(), reader.word()
        raise Refused(code, domain, reader.optional_text())

    def _frame(self):
        size = struct.unpack(">I", self._exactly(4))[0]
        return self._exactly(size - 4)

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise ConnectionResetError("the daemon hung up")
            data += piece
        return data

    def domain(self, name):
        """The domain as calls name it, encoded."""
        reply = self.call(LOOKUP_BY_NAME, _text(name))
        return reply.data

    def begin(self, domain, flags, params=()):
        """(cookie, xml); params: [(field, "text" or number)], a number as an unsigned long long."""
        typed = _word(len(params))
        for field, value in params:
            typed += _text(field)
            typed += (_word(7) + _text(value) if isinstance(value, str)
                      else _word(4) + struct.pack(">Q", value))
        reply = self.call(BEGIN, domain + typed + _word(flags))
        return reply.bytes(), reply.bytes()

    def prepare(self, name, xml, cookie, flags):
        """(cookie, uri)"""
        params = _word(2) + b"".join(
            _text(field) + _word(7) + _bytes(value)
            for field, value in (("destination_xml", xml), ("destination_name", name.encode())))
        reply = self.call(PREPARE, params + _bytes(cookie) + _word(flags))
        return reply.bytes(), reply.optional_text()

    def finish(self, name, flags, cancelled=True):
        """As after a perform that failed, which gives no cookie."""
        params = _word(1) + _text("destination_name") + _word(7) + _text(name)
        try:
            self.call(FINISH, params + _bytes(b"") + _word(flags) + _word(int(cancelled)))
        except Refused as refusal:
            if refusal.code != 93:  # "migration successfully aborted"
                raise

    def confirm_cancelled(self, domain, flags):
        self.call(CONFIRM, domain + _word(0) + _bytes(b"") + _word(flags) + _word(1))

    def close(self):
        self.socket.close()
