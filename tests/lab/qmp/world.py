"""Two hosts that are two state directories, and guests on them."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE.parent))

import guest  # noqa: E402


class World:
    """Two hosts, and the guests on them."""

    def __init__(self, vmferry, show):
        self.vmferry, self.show = os.path.abspath(vmferry), show
        self.prefix = []  # of every command, if it is to run elsewhere
        self.started = []
        self.dir = Path(tempfile.mkdtemp(prefix="vmf-"))
        self.a, self.b = (f"qmp:///session?dir={self.dir}/{name}" for name in "ab")

    def run(self, host, *args, status=0):
        if self.show:
            print("\n$ vmferry -c", host.replace(str(self.dir), "DIR"), *args)
        done = subprocess.run([*self.prefix, self.vmferry, "-c", host, *args], capture_output=True, text=True,
                              timeout=60)
        if self.show:
            print((done.stdout + done.stderr).rstrip().replace(str(self.dir), "DIR"))
        assert done.returncode == status, (args, done)
        return done.stdout + done.stderr

    def start(self, name, extra="", dirty=0, fill=4, program="qemu-system-x86_64", machine="pc",
              sectors=0):
        """A guest on host a that writes `dirty` pages of `fill` MiB at each tick, and checks them."""
        image = guest.assemble(self.dir, fill if dirty else 0, dirty, dirty != 0, sectors)
        line = (f"{program} -M {machine} -accel tcg -m 32M -display none -nodefaults "
                f"-no-user-config -kernel {image} -serial chardev:s "
                f"-chardev file,id=s,path={self.dir}/{name}.serial,append=on {extra}")
        (self.dir / f"{name}.argv").write_text(line)
        self.run(self.a, "define", "--argv", f"{self.dir}/{name}.argv", "--name", name)
        self.run(self.a, "start", name)
        self.wait_counts(name, 5)

    def xml(self, name, disks, monitor=None):
        """A domain with these raw images, by libvirt's XML; returns the path of the file."""
        image = guest.assemble(self.dir)
        devices = "".join(
            f"""<disk type='file' device='disk'><driver name='qemu' type='raw'/>
            <source file='{path}'/><target dev='vd{"abcd"[n]}' bus='virtio'/></disk>"""
            for n, path in enumerate(disks))
        own = f"""<qemu:commandline><qemu:arg value='-qmp'/>
            <qemu:arg value='unix:{monitor},server=on,wait=off'/></qemu:commandline>""" \
            if monitor else ""
        self.xmls = getattr(self, "xmls", 0) + 1
        path = self.dir / f"{name}-{self.xmls}.xml"
        path.write_text(f"""<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
          <name>{name}</name><uuid>{uuid.uuid5(uuid.NAMESPACE_DNS, name)}</uuid>
          <memory unit='MiB'>32</memory><vcpu>1</vcpu>
          <os><type arch='x86_64' machine='pc'>hvm</type><kernel>{image}</kernel></os>
          <devices>{devices}
            <serial type='file'><source path='{self.dir}/{name}.serial' append='on'/></serial>
          </devices>{own}</domain>""")
        return path

    def background(self, host, *args):
        """The same as run(), not waited for; communicate() tells how it ended."""
        return subprocess.Popen([*self.prefix, self.vmferry, "-c", host, *args], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)

    def state_of(self, host, name):
        """State and reason, as domstate --reason prints them; empty: no such domain."""
        done = subprocess.run([*self.prefix, self.vmferry, "-c", host, "domstate", name, "--reason"],
                              capture_output=True, text=True, timeout=60)
        return done.stdout.strip()

    def wait_state(self, host, name, text, seconds=20):
        end = time.monotonic() + seconds
        while text not in self.state_of(host, name):
            assert time.monotonic() < end, (text, self.state_of(host, name))
            time.sleep(0.05)

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
        return subprocess.run([*self.prefix, self.vmferry, "-c", host, *args], capture_output=True, text=True,
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

    def foreign(self, name, extra=(), dirty=0, **options):
        """A QEMU that vmferry did not start; its monitor is DIR/NAME.qmp."""
        image = guest.assemble(self.dir, 4 if dirty else 0, dirty, dirty != 0)
        argv = ["qemu-system-x86_64", "-M", "pc", "-accel", "tcg", "-m", "32M", "-display", "none",
                "-nodefaults", "-no-user-config", "-name", name, "-kernel", str(image),
                "-serial", "chardev:s", "-chardev",
                f"file,id=s,path={self.dir}/{name}.serial,append=on",
                "-qmp", f"unix:{name}.qmp,server,nowait", *extra]
        process = subprocess.Popen(argv, cwd=self.dir, **options)
        self.started.append(process)
        self.wait_counts(name, 5)
        return process

    def close(self):
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        for process in self.started:
            process.wait(timeout=10)
        shutil.rmtree(self.dir, ignore_errors=True)
