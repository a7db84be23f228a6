#!/usr/bin/env python3
"""Bare QEMU: whole `vmferry migrate` and `vmferry upgrade` against the same steps typed into QMP.

Usage: qmp_bench.py VMFERRY [--runs N] [--qemu PATH]. Prints medians in milliseconds and ratios. The
raw side starts a QEMU, sets capabilities, migrates over a unix socket, continues the guest and ends
the old process, in one Python process that is running already; vmferry's time is that of the command.
"""
import argparse
import json
import os
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import guest  # noqa: E402


class Monitor:
    def __init__(self, listener):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(listener.getsockname())
        self.buffer, self.events = b"", []
        self.line()
        self.run("qmp_capabilities")

    def line(self):
        while b"\n" not in self.buffer:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError("QEMU closed its monitor")
            self.buffer += data
        first, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(first)

    def run(self, command, **arguments):
        arguments = {k.replace("_", "-"): v for k, v in arguments.items()}
        self.sock.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            answer = self.line()
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']['desc']}")
            else:
                return answer["return"]

    def wait(self, name, status=None):
        while True:
            for event in self.events:
                if event["event"] == name and (not status or event["data"]["status"] == status):
                    self.events.remove(event)
                    stamp = event["timestamp"]
                    return stamp["seconds"] + stamp["microseconds"] / 1e6
            self.events.append(self.line())

    def capabilities(self, names):
        self.run("migrate-set-capabilities",
                 capabilities=[{"capability": n, "state": True} for n in names])


class Raw:
    """A QEMU started by hand."""

    def __init__(self, qemu, directory, name, mib, kernel, memory_fd, incoming):
        path = f"{directory}/{name}.qmp"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(1)
        memory = (f"memory-backend-file,id=pc.ram,size={mib}M,"
                  f"mem-path=/proc/self/fd/{memory_fd},share=on")
        argv = [qemu, "-machine", "pc,accel=tcg,memory-backend=pc.ram", "-object", memory, "-m",
                f"{mib}M", "-nodefaults", "-no-user-config", "-display", "none", "-kernel", kernel,
                "-chardev", f"file,id=s,path={directory}/raw.serial,append=on", "-serial",
                "chardev:s", "-chardev",
                f"socket,id=m,fd={listener.fileno()},server=on,wait=off", "-mon",
                "chardev=m,mode=control"]
        argv += ["-S", "-incoming", "defer"] if incoming else []
        self.process = subprocess.Popen(argv, pass_fds=[listener.fileno(), memory_fd],
                                        stdin=subprocess.DEVNULL)
        self.monitor = Monitor(listener)
        listener.close()

    def end(self, signal=False):
        pidfd = os.pidfd_open(self.process.pid)
        if signal:
            self.process.kill()
        else:
            self.monitor.run("quit")
        select.select([pidfd], [], [], 10)
        os.close(pidfd)
        self.process.wait()


def memory(mib):
    fd = os.memfd_create("bench")
    os.ftruncate(fd, mib << 20)
    return fd


def raw_move(args, directory, kernel, mib, hand_over):
    first = memory(mib)
    old = Raw(args.qemu, directory, "old", mib, kernel, first, False)
    time.sleep(0.5)
    began = time.monotonic()
    new = Raw(args.qemu, directory, "new", mib, kernel, first if hand_over else memory(mib), True)
    names = ["events", "return-path"] + (["x-ignore-shared"] if hand_over else [])
    old.monitor.capabilities(names)
    new.monitor.capabilities(names)
    old.monitor.run("migrate-set-parameters", max_bandwidth=0, downtime_limit=20)
    new.monitor.run("migrate-incoming", uri=f"unix:{directory}/mig")
    old.monitor.run("migrate", uri=f"unix:{directory}/mig")
    stopped = old.monitor.wait("STOP")
    old.monitor.wait("MIGRATION", "completed")
    new.monitor.wait("MIGRATION", "completed")
    new.monitor.run("cont")
    resumed = new.monitor.wait("RESUME")
    old.end(signal=hand_over)
    total = time.monotonic() - began
    new.end(signal=True)
    for name in ("old.qmp", "new.qmp", "mig"):
        if os.path.exists(f"{directory}/{name}"):
            os.unlink(f"{directory}/{name}")
    return total * 1e3, (resumed - stopped) * 1e3


class Vmferry:
    def __init__(self, args, directory, kernel, mib):
        self.program, self.qemu = os.path.abspath(args.vmferry), args.qemu
        self.uris = [f"qmp:///session?dir={directory}/{n}" for n in "ab"]
        path = f"{directory}/bench.xml"
        domain = guest.Guest("bench", str(kernel), memory_mib=mib, machine="pc")
        with open(path, "w", encoding="ascii") as file:
            file.write(domain.xml().replace(guest.SERIAL_DIR, str(directory)).replace(
                "/usr/bin/qemu-system-x86_64", self.qemu))
        self.call(0, "define", path)
        self.call(0, "start", "bench")
        time.sleep(0.5)

    def call(self, side, *words):
        done = subprocess.run([self.program, "-c", self.uris[side], "--output", "json", *words],
                              check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return json.loads(done.stdout or b"null")

    def migrate(self, side):
        began = time.monotonic()
        self.call(side, "migrate", "--live", "bench", self.uris[1 - side])
        return (time.monotonic() - began) * 1e3

    def upgrade(self, side):
        began = time.monotonic()
        told = self.call(side, "upgrade", "bench", "--emulator", self.qemu)
        return (time.monotonic() - began) * 1e3, pause_ms(told)


def pause_ms(told):
    """The pause in an upgrade's JSON, wherever it stands there."""
    if isinstance(told, list):
        return pause_ms(told[0]) if told else None
    if isinstance(told, dict):
        for key, value in told.items():
            if key.startswith("pause") and isinstance(value, (int, float)):
                return value / 1e3 if key.endswith("us") else value
            found = pause_ms(value) if isinstance(value, (dict, list)) else None
            if found is not None:
                return found
    return None


def row(what, ours, raw):
    ours, raw = statistics.median(ours), statistics.median(raw)
    print(f"{what:34} {ours:9.1f} {raw:9.1f} {ours / raw:7.2f}x")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vmferry")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--sizes", default="256,1024,4096", help="MiB, for upgrade")
    parser.add_argument("--qemu", default=shutil.which("qemu-system-x86_64"))
    args = parser.parse_args()
    print(f"{'median ms of ' + str(args.runs):34} {'vmferry':>9} {'raw QMP':>9}")
    # Between two directories of one machine vmferry hands shared memory over, so the raw side does too.
    for mib in [256] + [int(s) for s in args.sizes.split(",")]:
        with tempfile.TemporaryDirectory() as directory:
            kernel = guest.assemble(directory)
            ours = Vmferry(args, directory, kernel, mib)
            try:
                if mib == 256 and not getattr(args, "moved", False):
                    args.moved = True
                    times = [ours.migrate(n % 2) for n in range(args.runs * 2)]
                    raw = [raw_move(args, directory, kernel, mib, True)[0]
                           for _ in range(args.runs)]
                    row("migrate, 256 MiB, whole", times, raw)
                    continue
                upgrades = [ours.upgrade(0) for _ in range(args.runs)]
                raw = [raw_move(args, directory, kernel, mib, True) for _ in range(args.runs)]
                row(f"upgrade, {mib} MiB, whole", [u[0] for u in upgrades], [r[0] for r in raw])
                if all(u[1] is not None for u in upgrades):
                    row(f"upgrade, {mib} MiB, pause", [u[1] for u in upgrades], [r[1] for r in raw])
            finally:
                ours.call(0, "destroy", "bench")


if __name__ == "__main__":
    main()
