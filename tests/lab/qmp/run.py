#!/usr/bin/python3
"""vmferry on bare QEMU: two state directories are two hosts. Needs qemu-system-x86_64 and nasm.

Usage: run.py [--vmferry PATH] [--demo] [NAME...]. No root, no libvirt; tests that need root are left
out without it. --demo shows the commands as they run. Tests are here and in test_*.py; a NAME is a
part of a test's.
"""
import argparse
import importlib
import os
import re
import sys
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from world import ROOT, World  # noqa: E402


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
    for option in (["--tls"], ["--rdma-pin-all"]):
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


def tests():
    """Of this file and its neighbours; a function says needs_root = True of itself."""
    found = {n: f for n, f in globals().items() if re.match("test_", n)}
    for path in sorted(HERE.glob("test_*.py")):
        module = importlib.import_module(path.stem)
        found |= {n: f for n, f in vars(module).items()
                  if re.match("test_", n) and callable(f)}
    return {n: f for n, f in found.items()
            if os.geteuid() == 0 or not getattr(f, "needs_root", False)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vmferry", default=str(ROOT / "build/release/vmferry"))
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    if options.demo:
        return 0 if attempt(demo, options) else 1
    passed = failed = 0
    for name, function in tests().items():
        if options.names and not any(part in name for part in options.names):
            continue
        good = attempt(function, options)
        print("ok    " if good else "FAILED", name, flush=True)
        passed, failed = passed + good, failed + (not good)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
