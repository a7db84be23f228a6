"""One pair of hosts with everything a test asks of it."""
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass

import libvirt

import guest as guests
from hosts import Host, Network, make_key, remove_tree
from namespaces import spawn, wait_for
from rpc_proxy import Proxy, listen_unix

SERVICE_VARIABLES = ("VMFERRY_URI", "LIBVIRT_DEFAULT_URI", "SSH_AUTH_SOCK", "NO_COLOR")


def slow():
    """Options by which a guest of 32 MiB takes half a minute."""
    return ["--bandwidth", "1"]


@dataclass
class Result:
    """A client program that ended."""
    argv: list
    status: int
    out: str
    err: str
    seconds: float

    def __str__(self):
        return (f"$ {' '.join(self.argv)}\n[exit {self.status}, {self.seconds:.1f} s]\n"
                f"{self.out}{self.err}")


class Client:
    """A running vmferry or virsh."""

    def __init__(self, lab, argv):
        self.argv, self.started = argv, time.monotonic()
        self.process = spawn(lab.network.space.command(argv), text=True, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, env=lab.environment())

    def signal(self, number=signal.SIGINT):
        self.process.send_signal(number)

    def wait(self, seconds=60):
        """The result; a client that does not end in time is killed and that is an error."""
        try:
            out, err = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            raise AssertionError(f"did not end within {seconds} s: {' '.join(self.argv)}\n"
                                 f"{out}{err}") from None
        return Result(self.argv, self.process.returncode, out, err,
                      time.monotonic() - self.started)


class Lab:
    """Two hosts, a client, proxies. `roots`: other root directories by host number."""

    def __init__(self, vmferry, roots=None, keep=False):
        self.vmferry, self.keep = vmferry, keep
        self.dir = tempfile.mkdtemp(prefix="vmlab-", dir="/tmp")
        self.hosts, self.network, self.proxies, self.guests = [], None, [], []
        self.results = []
        self.count = 0
        try:
            self._start(roots or {})
        except BaseException:
            self.close()
            raise

    def _start(self, roots):
        os.makedirs(f"{self.dir}/shared")
        os.makedirs(f"{self.dir}/state")
        self.hosts = [Host(self.dir, n, roots.get(n)) for n in (1, 2)]
        self.network = Network(self.dir, self.hosts)
        make_key(self.dir, self.hosts)
        for host in self.hosts:
            host.start()
            self.network.attach(host)
        for host in self.hosts:
            host.start_daemons()
        for host in self.hosts:
            host.wait_ready()

    def environment(self):
        env = {k: v for k, v in os.environ.items() if k not in SERVICE_VARIABLES}
        return env | {"XDG_STATE_HOME": f"{self.dir}/state", "LC_ALL": "C.UTF-8"}

    @property
    def source(self):
        return self.hosts[0]

    @property
    def destination(self):
        return self.hosts[1]

    def proxy(self, host, delay=0.0):
        """A new proxy in front of the host's unix socket; `proxy.uri` leads through it."""
        path = f"{self.dir}/px{len(self.proxies)}-{self.count}"
        proxy = Proxy(listen_unix(path), host.socket_path, delay)
        proxy.uri = host.uri(socket_path=path)
        self.proxies.append(proxy)
        return proxy

    def guest(self, fill=0, dirty=0, persistent=False, start=True, disks=(), memory=None,
              ticks=10, interface=""):
        """A guest that runs on the source, having written `ticks` lines."""
        self.count += 1
        one = guests.Guest(f"web{self.count}", str(guests.assemble(self.dir, fill, dirty)),
                           memory_mib=memory or max(16, fill + 8), disks=list(disks),
                           interface=interface)
        self.guests.append(one)
        connection = self.source.connection
        if persistent or not start:
            domain = connection.defineXML(one.xml())
            if start:
                domain.create()
        else:
            connection.createXML(one.xml(), 0)
        if start and ticks:
            self.wait_ticks(self.source, one, ticks)
        return one

    def ticks(self, host, guest):
        return host.serial_log(guest.log_name).count(b"\n")

    def wait_ticks(self, host, guest, more, seconds=30):
        """Wait until the guest has written `more` further lines on this host."""
        goal = self.ticks(host, guest) + more
        wait_for(f"{guest.name} to go on counting on {host.name}",
                 lambda: self.ticks(host, guest) >= goal, seconds)

    def client(self, *argv):
        return Client(self, list(argv))

    def ferry(self, *args, seconds=60):
        """Run vmferry to its end."""
        return self.finish(self.client(self.vmferry, *args), seconds)

    def start_ferry(self, *args):
        return self.client(self.vmferry, *args)

    def finish(self, client, seconds=60):
        result = client.wait(seconds)
        self.results.append(result)
        return result

    def migrate_args(self, guest, *options, source=None, destination=None):
        """Arguments after the program's name; ends may be hosts, proxies or URIs."""
        return ["-c", _uri(source or self.source), "migrate", *options, guest.name,
                _uri(destination or self.destination)]

    def migrate(self, guest, *options, source=None, destination=None, seconds=60):
        return self.ferry(*self.migrate_args(guest, *options, source=source,
                                             destination=destination), seconds=seconds)

    def start_migrate(self, guest, *options, source=None, destination=None):
        return self.start_ferry(*self.migrate_args(guest, *options, source=source,
                                                   destination=destination))

    def wait_job(self, guest, sent=1, host=None, seconds=30):
        """Wait until a migration of the guest has sent at least `sent` bytes."""
        host = host or self.source

        def sending():
            try:
                stats = host.connection.lookupByName(guest.name).jobStats()
            except libvirt.libvirtError:
                return False
            return stats.get("memory_processed", 0) >= sent
        wait_for(f"the migration of {guest.name} to send memory", sending, seconds)

    def disk_file(self, name, mib=4, shared=True, hosts=None):
        """An image with recognisable content; returns its path as the guest's hosts see it."""
        content = b"".join(f"{name} block {n:08d}".ljust(512).encode() for n in range(mib * 2048))
        if shared:
            path = f"{self.dir}/shared/{name}"
            with open(path, "wb") as image:
                image.write(content)
            return path
        for host in hosts or [self.source]:
            host.image(name).write_bytes(content)
        return f"/var/lib/libvirt/images/{name}"

    def write(self, name, text):
        path = f"{self.dir}/{name}"
        with open(path, "w") as file:
            file.write(text)
        return path

    def later(self, seconds, action, *args):
        """Call action after a while, without holding up the caller."""
        timer = threading.Timer(seconds, action, args)
        timer.daemon = True
        timer.start()

    def reset(self):
        """Remove what a test left; a lab that cannot be made clean raises."""
        for proxy in self.proxies:
            proxy.close()
        self.proxies.clear()
        for host in self.hosts:
            host.signal_qemu_all(signal.SIGCONT)
            host.link(True)
            _ensure_daemon(host)
        for host in self.hosts:
            _remove_domains(host)
        remove_tree(f"{self.dir}/state")
        os.makedirs(f"{self.dir}/state")
        self.guests.clear()
        self.results.clear()

    def close(self):
        for proxy in self.proxies:
            proxy.close()
        for host in self.hosts:
            host.close()
        if self.network:
            self.network.close()
        if not self.keep:
            remove_tree(self.dir)


def _uri(end):
    if isinstance(end, str):
        return end
    return end.uri() if callable(end.uri) else end.uri


def _ensure_daemon(host):
    if host.daemon.poll() is not None:
        host.start_libvirtd()
    host.wait_ready()
    os.kill(host.daemon_pid(), signal.SIGCONT)


def _remove_domains(host):
    for domain in host.connection.listAllDomains():
        for end in (domain.abortJob, domain.destroy, domain.undefine):
            try:
                end()
            except libvirt.libvirtError:
                continue  # each of them may not apply; what counts is asserted below
    wait_for(f"{host.name} to be empty",
             lambda: not host.connection.listAllDomains() and not host.qemu_pids(), 15)


def missing_programs():
    """Programs that the lab needs and that are not installed."""
    needed = ["libvirtd", "virsh", "qemu-system-x86_64", "qemu-img", "nasm", "sshd", "ssh-keygen",
              "ip", "unshare", "nsenter"]
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [name for name in needed if not shutil.which(name, path=path)]
