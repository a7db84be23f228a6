#!/usr/bin/env python3
"""Bare QEMU: whole `vmferry migrate` and `vmferry upgrade` against the same steps typed into QMP.

Usage: qmp_bench.py VMFERRY [--runs N] [--qemu PATH] [--libvirt]. Prints milliseconds and ratios, of
medians and of the best runs: those say more on a machine that is busy. The raw side starts a QEMU,
sets capabilities, migrates over a unix socket (or tcp), continues the guest and ends the old
process, in one Python process that is running already; vmferry's time is that of the whole command.
With --libvirt (root) also virsh, for the same idle guest between two libvirt hosts.
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
                  f"mem-path=/proc/self/fd/{memory_fd},share=on" if memory_fd is not None else
                  f"memory-backend-ram,id=pc.ram,size={mib}M")
        passed = [listener.fileno()] + ([memory_fd] if memory_fd is not None else [])
        argv = [qemu, "-machine", "pc,accel=tcg,memory-backend=pc.ram", "-object", memory, "-m",
                f"{mib}M", "-nodefaults", "-no-user-config", "-display", "none", "-kernel", kernel,
                "-chardev", f"file,id=s,path={directory}/raw.serial,append=on", "-serial",
                "chardev:s", "-chardev",
                f"socket,id=m,fd={listener.fileno()},server=on,wait=off", "-mon",
                "chardev=m,mode=control"]
        argv += ["-S", "-incoming", "defer"] if incoming else []
        self.process = subprocess.Popen(argv, pass_fds=passed, stdin=subprocess.DEVNULL)
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


def raw_move(args, directory, kernel, mib, hand_over, poll=0.0, shareable=False, tcp=False):
    """One move by hand: (milliseconds from the start of the new process, guest's pause).

    A copy from a QEMU that loses a running guest's writes is made of a stopped one, as vmferry does;
    shareable: into memory that the next move can take over.
    """
    first = memory(mib) if hand_over else None
    second = memory(mib) if shareable else first
    old = Raw(args.qemu, directory, "old", mib, kernel, first, False)
    time.sleep(0.3)
    began = time.monotonic()
    new = Raw(args.qemu, directory, "new", mib, kernel, second, True)
    names = ["events", "return-path"] + (["x-ignore-shared"] if hand_over else [])
    old.monitor.capabilities(names)
    new.monitor.capabilities(names)
    old.monitor.run("migrate-set-parameters", max_bandwidth=0, downtime_limit=20)
    uri = f"unix:{directory}/mig"
    new.monitor.run("migrate-incoming", uri="tcp:127.0.0.1:0" if tcp else uri)
    if tcp:
        [address] = new.monitor.run("query-migrate")["socket-address"]
        uri = f"tcp:127.0.0.1:{address['port']}"
    if not hand_over and old.monitor.run("query-version")["qemu"]["major"] < 9:
        old.monitor.run("stop")
    old.monitor.run("migrate", uri=uri)
    while poll and old.monitor.run("query-migrate")["status"] != "completed":
        time.sleep(poll)
    stopped = old.monitor.wait("STOP")
    old.monitor.wait("MIGRATION", "completed")
    new.monitor.wait("MIGRATION", "completed")
    new.monitor.run("cont")
    resumed = new.monitor.wait("RESUME")
    old.end(signal=True)
    total = time.monotonic() - began
    new.end(signal=True)
    for fd in {first, second} - {None}:
        os.close(fd)
    for name in ("old.qmp", "new.qmp", "mig"):
        if os.path.exists(f"{directory}/{name}"):
            os.unlink(f"{directory}/{name}")
    return total * 1e3, (resumed - stopped) * 1e3


class Vmferry:
    def __init__(self, args, directory, kernel, mib, private):
        self.program, self.qemu = os.path.abspath(args.vmferry), args.qemu
        self.uris = [f"qmp:///session?dir={directory}/{n}" for n in "ab"]
        path = f"{directory}/bench.xml"
        domain = guest.Guest("bench", str(kernel), memory_mib=mib, machine="pc")
        xml = domain.xml().replace(guest.SERIAL_DIR, str(directory))
        xml = xml.replace("/usr/bin/qemu-system-x86_64", self.qemu)
        if private:
            backing = "<memoryBacking><access mode='private'/></memoryBacking>"
            xml = xml.replace("<vcpu>", backing + "<vcpu>")
        with open(path, "w", encoding="ascii") as file:
            file.write(xml)
        self.call(0, "define", path)
        self.call(0, "start", "bench")
        time.sleep(0.5)

    def call(self, side, *words):
        done = subprocess.run([self.program, "-c", self.uris[side], "--output", "json", *words],
                              check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return json.loads(done.stdout or b"null")

    def migrate(self, side, tcp=False):
        options = ["--migrateuri", "tcp://127.0.0.1"] if tcp else []
        began = time.monotonic()
        told = self.call(side, "migrate", "--live", "bench", self.uris[1 - side], *options)
        return (time.monotonic() - began) * 1e3, told["stats"].get("downtime", 0)

    def upgrade(self, side):
        began = time.monotonic()
        told = self.call(side, "upgrade", "bench", "--emulator", self.qemu)
        return (time.monotonic() - began) * 1e3, told["pause_us"] / 1e3


def row(what, ours, raw):
    for name, of in (("median", statistics.median), ("best", min)):
        print(f"{what:44} {name:6} {of(ours):9.1f} {of(raw):9.1f} "
              f"{of(ours) / max(of(raw), 1e-3):7.2f}x", flush=True)


def compare(args, what, mib, hand_over, tcp=False):
    """Both sides take turns, so that a busy moment meets both."""
    with tempfile.TemporaryDirectory() as directory:
        kernel = guest.assemble(directory)
        bench = Vmferry(args, directory, kernel, mib, not hand_over)
        ours, raw = [], []
        try:
            for n in range(args.runs):
                if what == "migrate":
                    ours.append(bench.migrate(n % 2, tcp))
                else:
                    # A copy makes the memory shareable, so the next one would not be a copy.
                    if n and not hand_over:
                        bench.call(0, "destroy", "bench")
                        bench.call(0, "start", "bench")
                        time.sleep(0.5)
                    ours.append(bench.upgrade(0))
                raw.append(raw_move(args, directory, kernel, mib, hand_over,
                                    shareable=what == "upgrade" and not hand_over, tcp=tcp))
        finally:
            for side in (0, 1):
                subprocess.run([bench.program, "-c", bench.uris[side], "destroy", "bench"],
                               check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    way = ("handed over" if hand_over else "copied") + (" over tcp" if tcp else "")
    row(f"{what}, {mib} MiB {way}, whole", [o[0] for o in ours], [r[0] for r in raw])
    row(f"{what}, {mib} MiB {way}, pause", [o[1] for o in ours], [r[1] for r in raw])


def polled(args):
    with tempfile.TemporaryDirectory() as directory:
        kernel = guest.assemble(directory)
        events = [raw_move(args, directory, kernel, 256, True)[1] for _ in range(args.runs)]
        polls = [raw_move(args, directory, kernel, 256, True, 0.05)[1] for _ in range(args.runs)]
    print(f"pause by events {statistics.median(events):.1f}, by polling every 50 ms "
          f"{statistics.median(polls):.1f}")


def virsh(args):
    """The same guest, idle and copied, between two libvirt hosts on this machine; in turns."""
    from lab import Lab  # needs root and libvirt's Python module
    lab = Lab(os.path.abspath(args.vmferry))
    ours, times = [], []
    try:
        with tempfile.TemporaryDirectory() as directory:
            bench = Vmferry(args, directory, guest.assemble(directory), 256, True)
            for n in range(args.runs):
                domain = lab.guest(memory=256)
                result = lab.finish(lab.client("virsh", *lab.migrate_args(domain, "--live")))
                assert result.status == 0, result
                times.append(result.seconds * 1e3)
                lab.reset()
                ours.append(bench.migrate(n % 2)[0])
            bench.call(args.runs % 2, "destroy", "bench")
    finally:
        lab.close()
    row("migrate, 256 MiB, beside virsh", ours, times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vmferry")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--sizes", default="256,1024,4096,8192", help="MiB, for upgrade")
    parser.add_argument("--qemu", default=shutil.which("qemu-system-x86_64"))
    parser.add_argument("--libvirt", action="store_true")
    args = parser.parse_args()
    print(f"{'ms of ' + str(args.runs) + ' runs':51} {'vmferry':>9} {'other':>9}")
    # Between two directories of one machine vmferry hands memory over, so the raw side does too.
    compare(args, "migrate", 256, True)
    compare(args, "migrate", 256, False)
    compare(args, "migrate", 256, True, tcp=True)
    compare(args, "migrate", 256, False, tcp=True)
    for mib in args.sizes.split(","):
        compare(args, "upgrade", int(mib), True)
    compare(args, "upgrade", 256, False)
    polled(args)
    if args.libvirt:
        virsh(args)


if __name__ == "__main__":
    main()
