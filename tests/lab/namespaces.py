"""Namespaces that live exactly as long as the program that made them.

Nothing here has a name outside: no `ip netns`, no interface in the caller's network. A space is
held by its first process alone, and that process dies with its maker, however the maker ends.
"""
import concurrent.futures
import ctypes
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1

# The first process of a PID namespace: ends when told to, reaps what is left to it.
_INIT = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nwhile True: signal.pause()"


_spawner = concurrent.futures.ThreadPoolExecutor(max_workers=1)


def die_with_parent():
    """This process is killed when the thread that started it ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def spawn(argv, **options):
    """Popen of a child that does not outlive this program, whichever thread asks for it."""
    return _spawner.submit(subprocess.Popen, argv, stdin=subprocess.DEVNULL,
                           preexec_fn=die_with_parent, **options).result()


class Space:
    """Network, mount and UTS namespaces, and a PID namespace unless told otherwise."""

    def __init__(self, setup, own_pids=True, log=None):
        """setup: a shell script run inside, as the first thing, with mounts already private."""
        self.own_pids = own_pids
        command = ["unshare", "--net", "--mount", "--uts", "--propagation", "private"]
        if own_pids:
            command += ["--pid", "--fork", "--kill-child", "--mount-proc"]
        ready, ready_child = os.pipe()
        script = f"set -e\n{setup}\necho ready >&{ready_child}\nexec python3 -c '{_INIT}'"
        self.process = spawn(command + ["bash", "-c", script], stdout=log, stderr=log,
                             pass_fds=[ready_child], start_new_session=True)
        os.close(ready_child)
        with os.fdopen(ready) as pipe:
            if pipe.readline() != "ready\n":
                self.close()
                raise RuntimeError("a namespace could not be set up: see its log")
        self.init = self._first_process()

    def _first_process(self):
        pid = self.process.pid
        if not self.own_pids:
            return pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def command(self, argv, root=None):
        """argv made to run inside; its process id stays its own when the space has no own PIDs."""
        enter = ["nsenter", "-t", str(self.init), "--net", "--mount", "--uts"]
        if self.own_pids:
            enter.append("--pid")
        return enter + (["chroot", root] if root else []) + list(argv)

    def run(self, *argv, check=True, timeout=20):
        return subprocess.run(self.command(argv), check=check, timeout=timeout, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True)

    def socket_inside(self, make):
        """Call make() with a thread of ours in this network; a socket made there stays there."""
        result = []

        def work():
            with open(f"/proc/{self.init}/ns/net", "rb") as space:
                if _LIBC.setns(space.fileno(), _CLONE_NEWNET) != 0:
                    result.append(OSError(ctypes.get_errno(), "setns"))
                    return
            try:
                result.append(make())
            except OSError as error:
                result.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if isinstance(result[0], Exception):
            raise result[0]
        return result[0]

    def pids(self):
        """Processes of this space's network, the first one not counted."""
        mine = os.readlink(f"/proc/{self.init}/ns/net")
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) in (self.init, self.process.pid):
                continue
            try:
                if os.readlink(f"/proc/{entry}/ns/net") == mine:
                    found.append(int(entry))
            except OSError:
                continue  # it ended meanwhile
        return found

    def listening_ports(self):
        """TCP ports with a listener in this network."""
        ports = set()
        for name in ("tcp", "tcp6"):
            for line in Path(f"/proc/{self.init}/net/{name}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A":
                    ports.add(int(fields[1].rsplit(":", 1)[1], 16))
        return ports

    def close(self):
        """End every process inside and with them the namespaces."""
        if self.process.poll() is None and hasattr(self, "init") and not self.own_pids:
            for pid in self.pids():
                _kill(pid)
        if self.process.poll() is None:
            _kill(getattr(self, "init", self.process.pid))
        end(self.process)


def end(process, seconds=5):
    """Wait for a process that is about to end; kill it if it does not."""
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _kill(pid, number=signal.SIGKILL):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def wait_for(what, condition, seconds=20.0, every=0.03):
    """Poll condition until it is true; returns its value or raises TimeoutError naming `what`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(every)


def listen_tcp(address, port):
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, port))
    server.listen(16)
    return server
