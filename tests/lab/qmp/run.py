#!/usr/bin/python3
"""vmferry on bare QEMU: two state directories are two hosts. Needs qemu-system-x86_64 and nasm.

Usage: run.py [--vmferry PATH] [--demo]. No root, no libvirt. --demo shows the commands as they run.
"""
import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE.parent))

import guest  # noqa: E402


class World:
    """Two hosts, and the guests on them."""

    def __init__(self, vmferry, show):
        self.vmferry, self.show = vmferry, show
        self.dir = Path(tempfile.mkdtemp(prefix="vmf-"))
        self.a, self.b = (f"qmp:///session?dir={self.dir}/{name}" for name in "ab")

    def run(self, host, *args, status=0):
        if self.show:
            print("\n$ vmferry -c", host.replace(str(self.dir), "DIR"), *args)
        done = subprocess.run([self.vmferry, "-c", host, *args], capture_output=True, text=True,
                              timeout=60)
        if self.show:
            print((done.stdout + done.stderr).rstrip().replace(str(self.dir), "DIR"))
        assert done.returncode == status, (args, done)
        return done.stdout + done.stderr

    def start(self, name, extra="", dirty=0):
        image = guest.assemble(self.dir, 4 if dirty else 0, dirty)
        line = (f"qemu-system-x86_64 -M pc -accel tcg -m 32M -display none -nodefaults "
                f"-no-user-config -kernel {image} -serial chardev:s "
                f"-chardev file,id=s,path={self.dir}/{name}.serial,append=on {extra}")
        (self.dir / f"{name}.argv").write_text(line)
        self.run(self.a, "define", "--argv", f"{self.dir}/{name}.argv", "--name", name)
        self.run(self.a, "start", name)
        self.wait_counts(name, 5)

    def counts(self, name):
        path = self.dir / f"{name}.serial"
        raw = guest.counter_bytes(path.read_bytes()) if path.exists() else b""
        return guest.join_counts([raw]) if b"\n" in raw else ([], [])

    def wait_counts(self, name, more):
        """Waits for that many further ticks, and checks that none is missing or came twice."""
        begin, end = len(self.counts(name)[0]), time.monotonic() + 20
        while time.monotonic() < end:
            counts, problems = self.counts(name)
            assert not problems, problems
            if len(counts) >= begin + more:
                return counts[-1]
            time.sleep(0.05)
        raise AssertionError(f"{name} does not count")

    def states(self, host):
        return {d["name"]: d["state"]
                for d in json.loads(self.quiet(host, "--output", "json", "list", "--all"))}

    def quiet(self, host, *args):
        return subprocess.run([self.vmferry, "-c", host, *args], capture_output=True, text=True,
                              check=True, timeout=60).stdout

    def processes(self):
        """Of QEMUs with a file in our directory, and running."""
        found = []
        for proc in Path("/proc").glob("[0-9]*"):
            try:
                if str(self.dir).encode() in (proc / "cmdline").read_bytes() and \
                        b"qemu-system" in (proc / "cmdline").read_bytes().split(b"\0")[0]:
                    found.append(int(proc.name))
            except OSError:
                continue
        return found

    def close(self):
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.dir, ignore_errors=True)


def test_moves_there_and_back(w):
    w.start("web1", dirty=50)
    text = w.run(w.a, "migrate", "web1", w.b)
    assert "running (migrated)" in text, text
    w.wait_counts("web1", 10)
    assert w.states(w.a) == {} and w.states(w.b) == {"web1": "running"}
    w.run(w.b, "migrate", "web1", w.a, "--migrateuri", f"unix:{w.dir}/data")
    w.wait_counts("web1", 10)
    assert w.states(w.b) == {} and len(w.processes()) == 1


def test_copies_private_memory_of_a_paused_guest(w):
    w.start("web2", extra="-object memory-backend-ram,id=r,size=32M -machine memory-backend=r",
            dirty=50)
    text = w.run(w.a, "migrate", "web2", w.b)
    assert "without KVM" in text or "9." in text, text
    w.wait_counts("web2", 10)
    assert len(w.processes()) == 1


def test_options_of_the_copy(w):
    w.start("web7", dirty=20)
    there, back = (w.a, w.b), (w.b, w.a)
    for (source, target), options in ((there, ["--parallel", "--parallel-connections", "2"]),
                                      (back, ["--compressed"]),
                                      (there, ["--auto-converge", "--bandwidth", "50"]),
                                      (back, ["--migrateuri", "tcp://127.0.0.1"])):
        w.run(source, "migrate", "web7", target, *options)
        w.wait_counts("web7", 5)


def test_outcomes_that_were_asked_for(w):
    w.start("web3")
    w.run(w.a, "migrate", "web3", w.b, "--dname", "other", "--suspend", "--no-undefinesource")
    assert w.states(w.b) == {"other": "paused"} and w.states(w.a) == {"web3": "shut off"}
    w.run(w.b, "resume", "other")
    w.wait_counts("web3", 5)
    w.run(w.b, "destroy", "other")
    w.run(w.b, "undefine", "other")
    w.run(w.a, "migrate", "web3", w.b, "--offline")
    assert w.states(w.b) == {"web3": "shut off"} and w.states(w.a) == {}


def test_what_cannot_be_done_is_refused_and_nothing_changes(w):
    w.start("web4")
    for option in (["--copy-storage-all"], ["--postcopy"], ["--p2p"], ["--tls"], ["--tunnelled", "--p2p"]):
        w.run(w.a, "migrate", "web4", w.b, *option, status=3)
    w.run(w.a, "migrate", "web4", w.a, status=3)
    w.wait_counts("web4", 5)
    assert w.states(w.a) == {"web4": "running"} and len(w.processes()) == 1


def test_upgrades_in_a_row(w):
    w.start("web5", dirty=50)
    for _ in range(10):
        text = w.run(w.a, "upgrade", "web5", "--emulator", "/usr/bin/qemu-system-x86_64")
        assert "memory handed over" in text, text
    w.wait_counts("web5", 10)
    assert len(w.processes()) == 1 and w.states(w.a) == {"web5": "running"}


def test_upgrade_that_cannot_work_is_refused(w):
    w.start("web6")
    w.run(w.a, "upgrade", "web6", "--emulator", "/bin/false", status=1)
    w.run(w.a, "upgrade", "web6", "--emulator", "/nonexistent", status=8)
    w.wait_counts("web6", 10)
    assert len(w.processes()) == 1


def demo(w):
    w.start("web1")
    w.start("web2")
    w.run(w.a, "list")
    w.run(w.a, "migrate", "web1", w.b)
    print(f"web1 has counted on without a gap, to {w.wait_counts('web1', 25)}")
    w.run(w.a, "upgrade", "web2")
    print(f"web2 has counted on without a gap, to {w.wait_counts('web2', 25)}")
    w.run(w.b, "list")
    w.run(w.a, "list")
    w.run(w.a, "destroy", "web2")
    w.run(w.b, "destroy", "web1")


def attempt(function, options):
    world = World(options.vmferry, options.demo)
    try:
        function(world)
        return True
    except Exception:
        traceback.print_exc()
        return False
    finally:
        world.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vmferry", default=str(ROOT / "build/release/vmferry"))
    parser.add_argument("--demo", action="store_true")
    options = parser.parse_args()
    if options.demo:
        return 0 if attempt(demo, options) else 1
    passed = failed = 0
    for name, function in list(globals().items()):
        if re.match("test_", name):
            good = attempt(function, options)
            print("ok    " if good else "FAILED", name)
            passed, failed = passed + good, failed + (not good)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
