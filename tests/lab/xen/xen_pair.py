"""Two Xen hosts that share a disk and a network, in a state that is restored within a second."""
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import libvirt

from backports import cache_dir
from lab import SERVICE_VARIABLES, Client, Lab
from namespaces import listen_tcp, wait_for
from rpc_proxy import Proxy
from xen_host import RPC_PORT, XenHost
from xen_guests import PAIRS, guests_of
from xen_image import Image

_SECTOR = 512
_BOOTS = 3


def _keeps_time(host):
    """On a busy machine Xen and its kernels sometimes measure the speed of their clocks wrongly."""
    def both():
        return time.monotonic(), float(host.run("cut -d' ' -f1 /proc/uptime"))
    (real, inside), _ = both(), time.sleep(3)
    real_later, inside_later = both()
    return 0.7 < (inside_later - inside) / (real_later - real) < 1.4


class _Here:
    """The network of this program, where lab.Client expects one of the lab's."""

    @property
    def space(self):
        return self

    def command(self, argv):
        return list(argv)


class Pair:
    """Hosts of one kind of PAIRS, with their files below `directory`. prepare() once, begin()
    before each test, close() at the end.

    The source is where the guest is, so that a test can begin where the one before it ended.
    """

    def __init__(self, vmferry, kind, directory):
        self.vmferry, self.kind, self.directory = vmferry, kind, directory
        self.dir = tempfile.mkdtemp(prefix=f"{kind}-", dir=directory)
        self.images = {v: Image(v).make() for v in PAIRS[kind]}
        self.hosts = [XenHost(self.dir, n, self.images[v]) for n, v in enumerate(PAIRS[kind], 1)]
        self.network, self.proxies, self.results = _Here(), [], []
        self.turned, self.usable = False, False
        self._write_client_files()

    def _write_client_files(self):
        shutil.copy(self.source.image.dir / "key", f"{self.dir}/key")
        lines = []
        for host in self.hosts:
            key = (host.image.dir / "hostkey.pub").read_text().split()[:2]
            lines.append(f"{host.name},{host.address} {key[0]} {key[1]}\n")
        Path(f"{self.dir}/known_hosts").write_text("".join(lines))

    @property
    def source(self):
        return self.hosts[self.turned]

    @property
    def destination(self):
        return self.hosts[not self.turned]

    @property
    def live(self):
        """How its first guest is moved: Debian's Xen 4.20 has no shadow paging, without which a PV
        guest is copied only while it stands still."""
        return "--no-live" if self.kind == "4.20" else "--live"

    def shared(self):
        """The disks that both hosts have, as files."""
        return [f"{self.dir}/{name}.img" for name in ("vdb", "vdc")]

    # -- the state that tests start from ----------------------------------------------------------

    def _snapshot_dir(self):
        emulator = subprocess.run(["qemu-system-x86_64", "--version"], check=True,
                                  capture_output=True, text=True, timeout=30).stdout
        made_of = [self.kind, emulator, *(host.image.key for host in self.hosts),
                   (Path(__file__).parent / "xen_guests.py").read_text()]
        made_of += [word.replace(self.dir, "") for host in self.hosts
                    for word in host.machine("", self.shared())]
        key = hashlib.sha256("\0".join(made_of).encode()).hexdigest()[:12]
        return cache_dir() / f"xen-booted-{self.kind}-{key}"

    def prepare(self):
        """Make what restore() needs, if it is not there yet: about a minute.

        Hosts of two releases are taken from the pairs of either release.
        """
        self.folders = []
        for version in PAIRS[self.kind]:
            pair = self if self.kind == version else Pair(self.vmferry, version, self.directory)
            folder = pair._snapshot_dir()
            if not folder.exists():
                pair._make_snapshot(folder)
            self.folders.append(folder)

    def begin(self):
        """Before a test: hosts as the last one left them if that was clean, else restored."""
        self._close_proxies()
        self.results.clear()
        shutil.rmtree(f"{self.dir}/state", ignore_errors=True)
        os.makedirs(f"{self.dir}/state")
        try:
            clean = self.usable and self._leave_clean()
        except (OSError, RuntimeError, libvirt.libvirtError):
            clean = False
        if not clean:
            self.restore()
        self.usable = False

    def _leave_clean(self):
        """Whether one host runs the guest, unlocked, and nothing else is left of the last test."""
        guest, *others = guests_of(self.kind)
        found = []
        for host in self.hosts:
            if host.process.poll() is not None:
                return False
            for domain in self.connect(host).listAllDomains():
                if domain.name() in [other.name for other in others] and (
                        host is self.hosts[0] and domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED):
                    continue  # not used yet
                found.append((domain, host))
        if len(found) != 1:
            return False
        domain, host = found[0]
        running = domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
        if domain.name() != guest.name or not running or domain.jobInfo()[0]:
            return False
        if domain.isPersistent():
            domain.undefine()
        self.turned = host is self.hosts[1]
        return self.kind in PAIRS[self.kind] and self.runnable(guest) == [host.name]

    def restore(self):
        """Both hosts as they were once booted, each guest suspended on the first one."""
        self.power_off()
        self.turned = False
        for path in self.shared():
            shutil.copy(self.folders[0] / os.path.basename(path), path)
        for host, folder in zip(self.hosts, self.folders):
            host.start(self.shared(), folder)
            wait_for(f"{host.name} to take its link", lambda h=host: h.status() != "starting", 60)
        for host in self.hosts:
            host.go_on()
            # A guest whose writes are recorded while it is copied would slow the copy down.
            host.run("xl sched-credit2 -d Domain-0 -w 4096", 60)

    def _make_snapshot(self, folder):
        with open(cache_dir() / f"xen-{self.kind}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for old in cache_dir().glob(f"xen-booted-{self.kind}-*"):
                shutil.rmtree(old)
            part = cache_dir() / f"xen-part-booted-{self.kind}"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            self._boot()
            for _ in range(_BOOTS):
                if all(_keeps_time(host) for host in self.hosts):
                    break
                print(f"{self.kind}: a host's clock goes wrong, booting again", flush=True)
                self.power_off()
                self._boot()
            for host in self.hosts:
                host.monitor("stop")
            for path in self.shared():
                shutil.copy(path, part)
            for host in self.hosts:
                host.save(part)
            part.rename(folder)

    def _boot(self):
        for path in self.shared():
            with open(path, "wb") as disk:
                disk.truncate(2**20)
        for host in self.hosts:
            host.start(self.shared())
            wait_for(f"{host.name} to take its link", lambda h=host: h.status() == "running", 60)
        for host in self.hosts:
            wait_for(f"libvirtd of {host.name}", host.booted, 600, every=0.2)
        for guest in guests_of(self.kind):
            self.connect(self.source).createXML(guest.xml(), 0)
            wait_for(f"{guest.name} to count", lambda g=guest: self.written(g) >= 3, 600, every=0.3)
            self.connect(self.source).lookupByName(guest.name).suspend()

    def _close_proxies(self):
        for proxy in self.proxies:
            proxy.close()
        self.proxies.clear()

    def power_off(self):
        self._close_proxies()
        for host in self.hosts:
            host.power_off()

    def close(self):
        self.power_off()

    # -- guests -----------------------------------------------------------------------------------

    def connect(self, host):
        """A connection of stock libvirt."""
        return libvirt.open(host.uri())

    def awake(self, guest, host=None):
        """Let a guest of the snapshot go on, if it does not; returns it once it counts."""
        before = self.written(guest)
        domain = self.connect(host or self.source).lookupByName(guest.name)
        if domain.state()[0] != libvirt.VIR_DOMAIN_RUNNING:
            domain.resume()
        self.wait_counting(guest, before)
        return guest

    def written(self, guest):
        """How far the guest's numbers reach on the disk, without a gap from 1."""
        with open(f"{self.dir}/{guest.disk}.img", "rb") as disk:
            disk.seek(_SECTOR)
            data = disk.read()
        number = 0
        while data[number * _SECTOR:(number + 1) * _SECTOR].split() == [
                b"tick", str(number + 1).encode()]:
            number += 1
        return number

    def wait_counting(self, guest, before=None, more=1, seconds=90):
        """Until the guest has written `more` numbers after `before` (default: now)."""
        goal = (self.written(guest) if before is None else before) + more
        wait_for(f"{guest.name} to go on counting", lambda: self.written(guest) >= goal, seconds,
                 every=0.1)

    def runnable(self, guest, name=None):
        """Names of the hosts on which Xen itself has a copy of the guest that may run."""
        found = []
        for host in self.hosts:
            if host.process.poll() is not None:
                continue
            for domain, state in host.domains().items():
                if domain in (guest.name, name) and not set(state) & set("pscd"):
                    found.append(host.name)
        return found

    def one_copy(self, guest, host, name=None):
        """The guest runs on this host and nowhere else, went on without a gap, and is unharmed."""
        assert self.runnable(guest, name) == [host.name], self.runnable(guest, name)
        self.wait_counting(guest, more=2)
        seen = set()
        for one in self.hosts:
            if one.process.poll() is not None:
                continue
            ticks = one.ticks(guest.name) + (one.ticks(name) if name else [])
            bad = [tick for tick in ticks if tick[1] != "ok"]
            assert not bad, f"{guest.name} on {one.name}: {bad}"
            numbers = {number for number, _ in ticks}
            assert not numbers & seen, f"both hosts ran {guest.name}: {sorted(numbers & seen)}"
            seen |= numbers
        written = self.written(guest)
        assert seen and max(seen) <= written + 1, f"on disk to {written}, counted to {max(seen)}"

    # -- the client -------------------------------------------------------------------------------

    def environment(self):
        env = {k: v for k, v in os.environ.items() if k not in SERVICE_VARIABLES}
        return env | {"XDG_STATE_HOME": f"{self.dir}/state", "LC_ALL": "C.UTF-8"}

    def proxy(self, host):
        """A relay in front of the host; `proxy.uri` leads through it."""
        port = 17000 + len(self.proxies)
        proxy = Proxy(listen_tcp("127.0.0.1", port), (host.address, RPC_PORT))
        proxy.uri = f"xen+tcp://127.0.0.1:{port}/system"
        self.proxies.append(proxy)
        return proxy

    def client(self, *argv):
        return Client(self, list(argv))

    ferry, start_ferry, finish = Lab.ferry, Lab.start_ferry, Lab.finish

    migrate_args, start_migrate = Lab.migrate_args, Lab.start_migrate

    def migrate(self, guest, *options, seconds=240, **ends):
        return Lab.migrate(self, guest, *options, seconds=seconds, **ends)

    def wait_incoming(self, guest, seconds=120):
        """Until memory arrives on the destination: Perform is under way."""
        self.destination.run(f"until xl list | grep -q '^{guest.name}'; do :; done", seconds)

    def state(self, host, name):
        """libvirt's own (state, reason) of a domain; None: it is not there."""
        try:
            return tuple(self.connect(host).lookupByName(name).state())
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise
