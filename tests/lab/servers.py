"""Pairs of `vmferry serve` with simulated hosts, for libvirt's own clients and ours."""
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import libvirt

from namespaces import end, spawn, wait_for

libvirt.registerErrorHandler(lambda _context, _error: None, None)


@dataclass
class Done:
    """A program that ended."""
    argv: list
    status: int
    out: str
    err: str

    def __str__(self):
        return f"$ {' '.join(self.argv)}\n[exit {self.status}]\n{self.out}{self.err}"


def run(*argv, seconds=60, env=None):
    done = subprocess.run(argv, text=True, capture_output=True, stdin=subprocess.DEVNULL,
                          timeout=seconds, env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})})
    return Done(list(argv), done.returncode, done.stdout, done.stderr)


class Server:
    """One server on a unix socket; `host` is the simulated host that it calls its own."""

    def __init__(self, vmferry, directory, host, *options, uri=None, listen=None, prefix=()):
        self.host, self.path = host, f"{directory}/{host}.sock"
        self.log = Path(directory) / f"{host}.log"
        self.argv = [*prefix, vmferry, "serve", uri or f"test:///{host}?speed=10", "--listen",
                     listen or f"unix:{self.path}", *options]
        with open(self.log, "wb") as log:
            self.process = spawn(self.argv, stdout=log, stderr=log)
        wait_for(f"{' '.join(self.argv)} to listen",
                 lambda: "serving" in self.said() or self.process.poll() is not None)
        assert self.process.poll() is None, self.said()

    @property
    def uri(self):
        return f"test+unix:///{self.host}?socket={self.path}"

    def said(self):
        return self.log.read_text()

    def open(self):
        return libvirt.open(self.uri)

    def state(self, name):
        """Of a domain, as stock libvirt says it: "running", …; None: absent."""
        with Connection(self.uri) as connection:
            try:
                state = connection.lookupByName(name).state()[0]
            except libvirt.libvirtError as error:
                assert error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN, error
                return None
        return {1: "running", 3: "paused", 5: "shutoff"}.get(state, str(state))

    def raw(self):
        """A connection that has said nothing yet."""
        one = socket.socket(socket.AF_UNIX)
        one.settimeout(20)
        one.connect(self.path)
        return one

    def close(self):
        self.process.terminate()
        end(self.process)


class Connection:
    def __init__(self, uri):
        self.uri = uri

    def __enter__(self):
        self.connection = libvirt.open(self.uri)
        return self.connection

    def __exit__(self, *_):
        self.connection.close()


class Pair:
    """Two servers: `a` with the guests web1 and db1 running, `b` empty."""

    def __init__(self, lab, *options, speed=10):
        self.vmferry = lab.vmferry
        self.dir = tempfile.mkdtemp(prefix="vmserve-", dir="/tmp")
        self.a = self.b = None
        try:
            self.a, self.b = (Server(lab.vmferry, self.dir, host, *options,
                                     uri=f"test:///{host}?speed={speed}")
                              for host in ("default", "other"))
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for server in (self.a, self.b):
            if server:
                server.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def ferry(self, *argv, **options):
        return run(self.vmferry, *argv, **options)

    def start(self, *argv):
        return subprocess.Popen(argv, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                stdin=subprocess.DEVNULL)

    def check_at(self, place, name="web1"):
        """The guest runs on one of them, and the other has no active one."""
        here, there = (self.a, self.b) if place == "a" else (self.b, self.a)
        assert here.state(name) == "running", (here.state(name), there.state(name))
        assert there.state(name) in (None, "shutoff"), there.state(name)

    def wait_copying(self, server, name="web1"):
        def sending():
            with Connection(server.uri) as connection:
                stats = connection.lookupByName(name).jobStats()
            return stats.get("memory_processed", 0) > 0
        wait_for(f"{name} to be copied", sending)


class EventLoop:
    """libvirt's own loop, for events. Started once in a process."""
    started = False

    @classmethod
    def start(cls):
        if cls.started:
            return
        cls.started = True
        libvirt.virEventRegisterDefaultImpl()

        def work():
            while True:
                libvirt.virEventRunDefaultImpl()
        threading.Thread(target=work, daemon=True).start()
