"""One Xen host: an emulated machine that boots Xen, with a Debian dom0 and libvirt's libxl driver."""
import json
import os
import shlex
import socket
import subprocess

from namespaces import end, spawn, wait_for

LINK = "127.0.0.1:45800"
RPC_PORT, SSH_PORT, AGENT_PORT = 16509, 22, 2323
_XEN_OPTIONS = ("dom0_mem=640M,max:640M dom0_max_vcpus=1 console=com1 com1=115200,8n1 "
                "loglvl=warning guest_loglvl=warning noreboot spec-ctrl=no xpti=no pv-l1tf=no")
# On a busy machine the kernel measures the processor's speed wrongly, by a factor of ten.
_DOM0_OPTIONS = "console=hvc0 clocksource=xen mitigations=off loglevel=4"


def _disks(paths):
    argv = []
    for number, path in enumerate(paths, 1):
        argv += ["-drive", f"file={path},if=none,id=d{number},format=raw,cache=writethrough,"
                           "file.locking=off",
                 "-device", f"virtio-blk-pci,drive=d{number},share-rw=on"]
    return argv


class AgentError(RuntimeError):
    """A script inside the host failed."""


class XenHost:
    """Host number 1 or 2. Outside it is reached by its name, which resolves to `address`."""

    def __init__(self, lab_dir, number, image):
        self.number, self.image, self.dir = number, image, lab_dir
        self.name, self.address = f"h{number}", f"127.0.{number}.1"
        self.inner = f"10.9.0.{number}"
        self.process = None

    def file(self, suffix):
        return f"{self.dir}/{self.name}.{suffix}"

    def uri(self, transport="tcp", name=None):
        name = name or self.name
        if transport == "tcp":
            return f"xen+tcp://{name}/system"
        return (f"xen+ssh://root@{name}/system?keyfile={self.dir}/key"
                f"&known_hosts={self.dir}/known_hosts")

    def start(self, disks, snapshot=None):
        """Power on: from the image, or from the state that save() left in the folder `snapshot`.

        disks: files that both hosts have, as /dev/vdb and so on.
        """
        disk, base = self.file("qcow2"), self.image.dir / "base.img"
        below = ["-b", f"{snapshot}/{self.name}.qcow2", "-F", "qcow2"] if snapshot else [
            "-b", str(base), "-F", "raw"]
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *below, disk], check=True,
                       timeout=30)
        for left in (self.file("qmp"),):
            if os.path.exists(left):
                os.unlink(left)
        argv = self.machine(disk, disks)
        if snapshot:
            argv += ["-incoming", f"exec:cat {shlex.quote(f'{snapshot}/{self.name}.state')}"]
        with open(self.file("log"), "ab") as log:
            self.process = spawn(argv, stdout=log, stderr=log)

    def machine(self, root, disks):
        """The emulator's command line."""
        n, boot = self.number, self.image.dir
        forwards = ",".join(f"hostfwd=tcp:{self.address}:{port}-:{port}"
                            for port in (RPC_PORT, SSH_PORT, AGENT_PORT))
        link = "listen" if n == 1 else "connect"
        return ["qemu-system-x86_64", "-name", self.name, "-accel", "tcg,thread=multi",
                "-cpu", "qemu64,+svm,+npt", "-smp", "1", "-m", "1408", "-display", "none",
                "-no-reboot", "-nodefaults", "-uuid", f"00000000-0000-4000-8000-0000000000{n}{n}",
                "-kernel", f"{boot}/xen", "-append", _XEN_OPTIONS,
                "-initrd", f"{boot}/vmlinuz {_DOM0_OPTIONS} lab.n={n},{boot}/dom0.cpio",
                "-drive", f"file={root},if=none,id=d0,cache=unsafe",
                "-device", "virtio-blk-pci,drive=d0", *_disks(disks),
                "-netdev", f"user,id=u0,{forwards}",
                "-device", f"virtio-net-pci,netdev=u0,mac=52:54:00:aa:00:0{n},romfile=",
                "-netdev", f"socket,id=s0,{link}={LINK}",
                "-device", f"virtio-net-pci,netdev=s0,id=link,mac=52:54:00:bb:00:0{n},romfile=",
                "-serial", f"file:{self.file('serial')}",
                "-qmp", f"unix:{self.file('qmp')},server=on,wait=off"]

    # -- the machine, through its emulator --------------------------------------------------------

    def monitor(self, command, **arguments):
        """One command of QEMU's monitor; returns its answer."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(self.file("qmp"))
            stream = connection.makefile("rw")
            stream.readline()
            for name, given in (("qmp_capabilities", {}), (command, arguments)):
                stream.write(json.dumps({"execute": name, "arguments": given}) + "\n")
                stream.flush()
                answer = json.loads(stream.readline())
                while "event" in answer:
                    answer = json.loads(stream.readline())
                if "error" in answer:
                    raise RuntimeError(f"{self.name}: {name}: {answer['error']['desc']}")
        return answer["return"]

    def status(self):
        try:
            return self.monitor("query-status")["status"]
        except OSError:
            if self.process.poll() is not None:
                raise RuntimeError(f"the emulator of {self.name} ended: "
                                   + open(self.file("log")).read()[-2000:]) from None
            return "starting"

    def go_on(self):
        """After a start from a snapshot, once the state has been read."""
        wait_for(f"{self.name} to have its state", lambda: self.status() == "paused", 60)
        self.monitor("cont")

    def save(self, folder):
        """Write the state of the stopped machine into the folder and power off."""
        self.monitor("migrate-set-parameters", **{"max-bandwidth": 10**11})
        self.monitor("migrate", uri=f"exec:cat > {shlex.quote(f'{folder}/{self.name}.state')}")

        def written():
            status = self.monitor("query-migrate")
            if status.get("status") == "failed":
                raise RuntimeError(f"{self.name} cannot be saved: {status}")
            return status.get("status") == "completed"
        wait_for(f"the state of {self.name} to be written", written, 60)
        self.power_off()
        subprocess.run(["qemu-img", "rebase", "-u", "-b", str(self.image.dir / "base.img"), "-F",
                        "raw", self.file("qcow2")], check=True, timeout=30)
        os.rename(self.file("qcow2"), f"{folder}/{self.name}.qcow2")

    def link(self, up):
        self.monitor("set_link", name="link", up=up)

    def power_off(self):
        """At once, as when the plug is pulled."""
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            end(self.process)

    def booted(self):
        try:
            with open(self.file("serial"), errors="replace") as serial:
                return "libvirtd answers" in serial.read()
        except FileNotFoundError:
            return False

    # -- inside -----------------------------------------------------------------------------------

    def run(self, script, seconds=30, check=True):
        """Run a bash script in dom0; returns its output."""
        with socket.create_connection((self.address, AGENT_PORT), timeout=seconds) as connection:
            connection.settimeout(seconds)
            connection.sendall(script.encode().hex().encode() + b"\n")
            out = b""
            while piece := connection.recv(65536):
                out += piece
        text, _, status = out.decode(errors="replace").rpartition("\nstatus ")
        if not status.strip().isdigit():
            raise AgentError(f"{self.name}: {script!r} was cut off: {out!r}")
        if check and status.strip() != "0":
            raise AgentError(f"{self.name}: {script!r} ended with {status.strip()}: {text}")
        return text

    def libvirt_version(self):
        return self.run("virsh --version").strip()

    def restart_libvirtd(self):
        """Kill the daemon, as a crash would, and start another."""
        self.run("kill -9 $(cat /run/libvirtd.pid); rm -f /run/libvirtd.pid; "
                 "while ! libvirtd -d --listen -p /run/libvirtd.pid; do sleep 0.2; done")
        self.wait_libvirtd()

    def wait_libvirtd(self):
        self.run("for i in $(seq 100); do timeout 5 virsh -c xen:///system version > /dev/null 2>&1 "
                 "&& exit 0; sleep 0.2; done; exit 1", 60)

    def ticks(self, guest):
        """[(number, "ok")]: every whole line that the guest wrote on a console of this host."""
        log = self.run(f"cat /var/log/xen/guest-{guest}.log 2>/dev/null", check=False)
        ticks = []
        for line in log.splitlines():
            words = line.split()
            if len(words) == 4 and words[0] == "tick" and words[1].isdigit():
                ticks.append((int(words[1]), words[3]))
        return ticks

    def domains(self):
        """{name: xl's six letters of state}, of all domains but dom0."""
        out = {}
        for line in self.run("xl list").splitlines()[1:]:
            words = line.split()
            if words and words[0] != "Domain-0":
                out[words[0]] = words[4]
        return out
