"""Real libvirt hosts in namespaces: each with its own daemon, sshd, state, name and address."""
import os
import shutil
import signal
import socket
from pathlib import Path

import libvirt

import sshd
from namespaces import Space, end, spawn, wait_for

libvirt.registerErrorHandler(lambda _context, _error: None, None)

MIGRATION_PORTS = range(49152, 49216)
_BOUND = ("run", "lib", "cache", "log", "etc")
_PLACES = {"run": "run/libvirt", "lib": "var/lib/libvirt", "cache": "var/cache/libvirt",
           "log": "var/log/libvirt", "etc": "etc/libvirt"}

_LIBVIRTD_CONF = """listen_tls = 0
listen_tcp = 1
auth_tcp = "none"
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_group = "root"
host_uuid = "{uuid}"
log_outputs = "2:file:/var/log/libvirt/libvirtd.log"
"""

# The short keepalive is for peer-to-peer tests, where the source daemon must notice a silent peer.
_QEMU_CONF = """user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
remember_owner = 0
stdio_handler = "file"
keepalive_interval = 1
keepalive_count = 3
"""

_LIBVIRTD = """while /usr/sbin/libvirtd --listen --pid-file /run/libvirt/libvirtd.pid
[ $? = 139 ]; do :; done"""  # 139: it died of SIGSEGV


def address(number):
    return f"10.99.0.{number}"


class Host:
    """One host. `root` is the root directory that its programs come from; None: this system's."""

    def __init__(self, lab_dir, number, root=None):
        self.number, self.root = number, root
        self.name = f"host{number}"
        self.lab_dir = lab_dir
        self.dir = Path(lab_dir) / str(number)
        self.daemon = self.sshd = self.space = None
        self._connection = None
        self._write_files()

    def _write_files(self):
        for name in _BOUND:
            (self.dir / name).mkdir(parents=True, exist_ok=True)
        (self.dir / "lib/images").mkdir()
        n = self.number
        (self.dir / "etc/libvirtd.conf").write_text(
            _LIBVIRTD_CONF.format(uuid=f"{n:08d}-0000-4000-8000-{n:012d}"))
        (self.dir / "etc/qemu.conf").write_text(_QEMU_CONF)
        sshd.configure(self.dir, f"{self.lab_dir}/id")

    def _setup_script(self):
        root = self.root or ""
        lines = [f"hostname {self.name}", "ip link set lo up"]
        for name, place in _PLACES.items():
            lines += [f"mkdir -p {root}/{place}",
                      f"mount --bind {self.dir}/{name} {root}/{place}"]
        lines += [f"mkdir -p {root}/run/sshd",
                  f"mount --bind {self.lab_dir}/hosts {root}/etc/hosts"]
        if root:
            lines += [f"mkdir -p {root}{self.lab_dir}",
                      f"mount --rbind {self.lab_dir} {root}{self.lab_dir}",
                      f"mount --rbind /dev {root}/dev", f"mount --rbind /sys {root}/sys",
                      f"mount -t proc proc {root}/proc"]
        return "\n".join(lines)

    def start(self):
        """Make the namespaces; the daemons are started once the network is there."""
        with open(self.dir / "out.log", "wb") as log:
            self.space = Space(self._setup_script(), log=log)

    def _spawn(self, *argv):
        with open(self.dir / "out.log", "ab") as log:
            return spawn(self.space.command(argv, root=self.root), stdout=log, stderr=log,
                         start_new_session=True)

    def start_daemons(self):
        self.sshd = self._spawn(*sshd.command(self.dir))
        self.start_libvirtd()

    def start_libvirtd(self):
        """A daemon that crashes is started again, as systemd does it: libvirt 9.0's does at times
        when a guest's QEMU dies in the middle of Perform."""
        self.daemon = self._spawn("bash", "-c", _LIBVIRTD)

    def wait_ready(self):
        wait_for(f"libvirtd of {self.name} to listen", self._answers, 60)

    def _answers(self):
        if self.daemon.poll() is not None:
            raise RuntimeError(f"libvirtd of {self.name} ended: see {self.dir}/out.log")
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(self.socket_path)
                return True
            except OSError:
                return False

    @property
    def socket_path(self):
        return str(self.dir / "run/libvirt-sock")

    def uri(self, transport="unix", socket_path=None):
        if transport == "unix":
            return f"qemu+unix:///system?socket={socket_path or self.socket_path}"
        if transport == "tcp":
            return f"qemu+tcp://{self.name}/system"
        return (f"qemu+ssh://root@{self.name}/system?keyfile={self.lab_dir}/id"
                f"&known_hosts={self.lab_dir}/known_hosts")

    @property
    def connection(self):
        """A connection of stock libvirt, past every proxy; made anew when the daemon was."""
        if self._connection is None or not self._alive():
            self.wait_ready()
            self._connection = libvirt.open(self.uri())
        return self._connection

    def _alive(self):
        try:
            self._connection.getLibVersion()
            return True
        except libvirt.libvirtError:
            return False

    def daemon_pid(self):
        """Its nsenter's child is the shell that starts it, its grandchild the daemon."""
        pid = self.daemon.pid
        for _ in range(2):
            pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        return pid

    def kill_libvirtd(self, restart=True):
        os.kill(self.daemon_pid(), signal.SIGKILL)
        self.daemon.wait()
        self._connection = None
        if restart:
            self.start_libvirtd()

    def qemu_pids(self):
        """Running QEMU processes of this host: {pid: command line}."""
        found = {}
        for pid in self.space.pids():
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if b"qemu-system" in line.split(b"\0")[0] and b"guest=" in line:
                found[pid] = line.replace(b"\0", b" ").decode(errors="replace")
        return found

    def signal_qemu(self, number, name):
        hit = [p for p, line in self.qemu_pids().items() if f"guest={name}," in line]
        for pid in hit:
            os.kill(pid, number)
        return hit

    def signal_qemu_all(self, number):
        for pid in self.qemu_pids():
            os.kill(pid, number)

    def link(self, up):
        self.space.run("ip", "link", "set", "eth0", "up" if up else "down")

    def image(self, name):
        """A local disk image of this host, as a path from outside."""
        return self.dir / "lib/images" / name

    def serial_log(self, log_name):
        path = self.dir / "log" / log_name
        return path.read_bytes() if path.exists() else b""

    def close(self):
        if self.space:
            self.space.close()
        for process in (self.daemon, self.sshd):
            if process:
                end(process)


class Network:
    """The client's namespaces, with the bridge that joins the hosts."""

    def __init__(self, lab_dir, hosts):
        names = "".join(f"{address(h.number)} {h.name}\n" for h in hosts)
        hosts_file = Path(lab_dir) / "hosts"
        hosts_file.write_text("127.0.0.1 localhost\n" + names)
        with open(Path(lab_dir) / "client.log", "wb") as log:
            self.space = Space(f"""hostname client
mount --bind {hosts_file} /etc/hosts
ip link set lo up
ip link add br0 type bridge
ip addr add {address(254)}/24 dev br0
ip link set br0 up""", own_pids=False, log=log)

    def attach(self, host):
        n, host_init = host.number, str(host.space.init)
        self.space.run("ip", "link", "add", f"p{n}", "type", "veth", "peer", "name", "eth0",
                       "netns", host_init)
        self.space.run("ip", "link", "set", f"p{n}", "master", "br0", "up")
        host.space.run("ip", "addr", "add", f"{address(n)}/24", "dev", "eth0")
        host.space.run("ip", "link", "set", "eth0", "up")

    def close(self):
        self.space.close()


def make_key(lab_dir, hosts):
    """The client's ssh key, and known_hosts of all hosts under name and address."""
    sshd.make_key(f"{lab_dir}/id")
    (Path(lab_dir) / "known_hosts").write_text("".join(
        sshd.known_host(host.dir, f"{host.name},{address(host.number)}") for host in hosts))


def remove_tree(path):
    shutil.rmtree(path, ignore_errors=True)
