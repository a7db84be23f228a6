"""A relay that understands libvirt's RPC frames, so that faults strike at an exact call.

Frame: length, program, version, procedure, type, serial, status; seven big-endian 32-bit words,
the length counting itself (libvirt, src/rpc/virnetprotocol.x).
"""
import collections
import os
import socket
import struct
import threading
import time
from dataclasses import dataclass, field

REMOTE_PROGRAM = 0x20008086
CALL, REPLY = 0, 1
BEGIN, PREPARE, PERFORM, FINISH, CONFIRM = 302, 303, 305, 306, 307
PREPARE_TUNNEL = 304
PHASES = {"begin": BEGIN, "prepare": PREPARE, "perform": PERFORM, "finish": FINISH,
          "confirm": CONFIRM}
POLLING = {163, 298}  # job statistics: asked by a timer, nothing waits for them
GOODBYE = {2, 317, 361}  # what is said when all is done: CLOSE, and the end of subscriptions
_HEADER = struct.Struct(">7I")
_MAX_FRAME = 33554436


def cut(proxy):
    """Action: close every connection of the proxy; new ones are accepted."""
    proxy.cut()


def cut_for_good(proxy):
    """Action: close every connection and refuse new ones."""
    proxy.refuse(True)
    proxy.cut()


@dataclass
class Trigger:
    """Run `action` once, when the frame number `occurrence` of its kind passes."""
    procedure: int
    when: str  # before-call, after-call, before-reply, after-reply
    action: object
    occurrence: int = 1
    seen: int = 0
    fired: threading.Event = field(default_factory=threading.Event)

    def matches(self, procedure, when):
        if self.fired.is_set() or (procedure, when) != (self.procedure, self.when):
            return False
        self.seen += 1
        return self.seen == self.occurrence


@dataclass
class Passed:
    """One frame as the client saw it: a call when it came from it, a reply when sent to it."""
    time: float
    connection: object
    kind: int
    procedure: int
    serial: int


class Proxy:
    """Accepts on `listener`, relays each connection to `target`: a unix socket's path, or
    (address, port)."""

    def __init__(self, listener, target, delay=0.0):
        self.listener, self.target, self.delay = listener, target, delay
        self.triggers, self.passed, self.rewrites = [], [], {}
        self._pairs, self._lock = set(), threading.Lock()
        self._refusing = False
        self._flow, self._answers = threading.Event(), threading.Event()
        self._flow.set()
        self._answers.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def at(self, procedure, when, action=cut, occurrence=1):
        trigger = Trigger(procedure, when, action, occurrence)
        self.triggers.append(trigger)
        return trigger

    def rewrite(self, procedure, verb, change):
        """change(payload) replaces what follows the header of that procedure's calls or replies."""
        self.rewrites[procedure, verb] = change

    def refuse(self, refusing):
        self._refusing = refusing

    def freeze(self, frozen):
        """Stop all traffic without closing anything, as a network that drops packets does."""
        if frozen:
            self._flow.clear()
        else:
            self._flow.set()

    def mute(self, muted):
        """Let calls pass, but hold back whatever the host says."""
        if muted:
            self._answers.clear()
        else:
            self._answers.set()

    def cut(self):
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            _close_pair(pair)

    def close(self):
        self._refusing = True
        self.freeze(False)
        self.mute(False)
        _shut(self.listener)
        self.cut()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self._refusing:
                client.close()
                continue
            try:
                server = _connected(self.target)
            except OSError:
                client.close()
                continue
            pair = (client, server)
            with self._lock:
                self._pairs.add(pair)
            for source, sink, verb in ((client, server, "call"), (server, client, "reply")):
                threading.Thread(target=self._pump, args=(pair, source, sink, verb),
                                 daemon=True).start()

    def _pump(self, pair, source, sink, verb):
        outlet = _Delayed(sink, self.delay) if self.delay else _Direct(sink)
        try:
            while True:
                frame = _read_frame(source)
                self._flow.wait()
                if verb == "reply":
                    self._answers.wait()
                self._relay(pair, frame, outlet, verb)
        except OSError:
            pass
        finally:
            outlet.finish()
            with self._lock:
                self._pairs.discard(pair)
            _close_pair(pair)

    def _relay(self, pair, frame, outlet, verb):
        _, program, _, procedure, kind, serial, _ = _HEADER.unpack_from(frame)
        watched = program == REMOTE_PROGRAM and kind == (CALL if verb == "call" else REPLY)
        if not watched:
            outlet.send(frame, None)
            return
        change = self.rewrites.get((procedure, verb))
        if change:
            payload = change(frame[_HEADER.size:])
            length = _HEADER.size + len(payload)
            frame = length.to_bytes(4, "big") + frame[4:_HEADER.size] + payload
        note = Passed(0.0, pair, kind, procedure, serial)
        if verb == "call":
            self._note(note)
        self._fire(procedure, "before-" + verb)
        outlet.send(frame, (lambda: self._note(note)) if verb == "reply" else None)
        self._fire(procedure, "after-" + verb)

    def _note(self, note):
        note.time = time.monotonic()
        self.passed.append(note)

    def _fire(self, procedure, when):
        for trigger in list(self.triggers):
            if trigger.matches(procedure, when):
                try:
                    trigger.action(self)
                finally:
                    trigger.fired.set()


class _Direct:
    def __init__(self, sink):
        self.sink = sink

    def send(self, frame, sent):
        if sent:
            sent()  # noted first: the client may answer before this thread runs again
        self.sink.sendall(frame)

    def finish(self):
        pass


class _Delayed:
    """Sends each frame `delay` seconds after it came, without holding up those behind it."""

    def __init__(self, sink, delay):
        self.sink, self.delay = sink, delay
        self.queue, self.ready = collections.deque(), threading.Condition()
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def send(self, frame, sent):
        self._put((time.monotonic() + self.delay, frame, sent))

    def finish(self):
        self._put((time.monotonic() + self.delay, None, None))
        self.thread.join()

    def _put(self, item):
        with self.ready:
            self.queue.append(item)
            self.ready.notify()

    def _work(self):
        while True:
            with self.ready:
                self.ready.wait_for(lambda: self.queue)
                due, frame, sent = self.queue.popleft()
            time.sleep(max(0.0, due - time.monotonic()))
            if frame is None:
                return
            if sent:
                sent()
            try:
                self.sink.sendall(frame)
            except OSError:
                return


def _connected(target):
    if isinstance(target, tuple):
        return socket.create_connection(target)
    server = socket.socket(socket.AF_UNIX)
    try:
        server.connect(target)
    except OSError:
        server.close()
        raise
    return server


def _read_exact(source, size):
    data = bytearray()
    while len(data) < size:
        piece = source.recv(size - len(data))
        if not piece:
            raise ConnectionResetError("end of stream")
        data += piece
    return bytes(data)


def _read_frame(source):
    head = _read_exact(source, 4)
    length = struct.unpack(">I", head)[0]
    if not 28 <= length <= _MAX_FRAME:
        raise ConnectionResetError(f"no libvirt frame: length word {length}")
    return head + _read_exact(source, length - 4)


def _shut(end):
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    end.close()


def _close_pair(pair):
    for end in pair:
        _shut(end)


def listen_unix(path):
    if os.path.exists(path):
        os.unlink(path)
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(16)
    return server


def round_trips(proxies, ignore=POLLING):
    """The longest chain of answered calls, each sent after the reply of the one before came."""
    passed = sorted((p for proxy in proxies for p in proxy.passed if p.procedure not in ignore),
                    key=lambda p: p.time)
    done, depth = 0, {}
    for one in passed:
        key = (id(one.connection), one.serial)
        if one.kind == CALL:
            depth[key] = done + 1
        else:
            done = max(done, depth.get(key, 0))
    return done


def switch_gap(source, destination):
    """Seconds between Perform's reply reaching the client and its Finish request."""
    replied = [p.time for p in source.passed if p.procedure == PERFORM and p.kind == REPLY]
    asked = [p.time for p in destination.passed if p.procedure == FINISH and p.kind == CALL]
    return asked[-1] - replied[-1]
