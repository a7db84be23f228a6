"""Two hosts with a network, sshd and processes of their own, and a client: three sets of namespaces."""
from pathlib import Path

import namespaces
import sshd
from world import ROOT  # noqa: F401  (sets the path up)

PLACES = {"run": "/run/vmferry", "state": "/var/lib/vmferry"}


class Machine:
    def __init__(self, world, number):
        self.number, self.name = number, f"machine{number}"
        self.dir = world.dir / self.name
        self.world = world
        for name in (*PLACES, "mnt"):
            (self.dir / name).mkdir(parents=True, mode=0o700)
        sshd.configure(self.dir, f"{world.dir}/id")
        setup = [f"hostname {self.name}", "ip link set lo up", "mkdir -p /run/sshd",
                 f"mount --bind {world.dir}/hosts /etc/hosts", f"mount --bind {self.dir}/mnt /mnt"]
        for name, place in PLACES.items():
            setup += [f"mkdir -p {place}", f"mount --bind {self.dir}/{name} {place}"]
        self.log = open(self.dir / "log", "wb")
        self.space = namespaces.Space("\n".join(setup), log=self.log)

    @property
    def address(self):
        return f"10.98.0.{self.number}"

    @property
    def uri(self):
        w = self.world
        return (f"qmp+ssh://root@{self.name}/system?keyfile={w.dir}/id"
                f"&known_hosts={w.dir}/known_hosts&vmferry={w.vmferry}")

    def start_sshd(self):
        argv = self.space.command(sshd.command(self.dir))
        self.sshd = namespaces.spawn(argv, stdout=self.log, stderr=self.log)
        namespaces.wait_for(f"sshd of {self.name}", lambda: 22 in self.space.listening_ports())

    def qemus(self):
        found = []
        for pid in self.space.pids():
            try:
                if b"qemu-system" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]:
                    found.append(pid)
            except OSError:
                continue
        return found

    def leftovers(self):
        """Files of processes, and ports other than sshd's."""
        files = [str(p.relative_to(self.dir)) for p in (self.dir / "run").iterdir()
                 if not p.name.endswith(".job")]
        return files + [port for port in self.space.listening_ports() if port != 22]

    def close(self):
        self.space.close()
        if hasattr(self, "sshd"):
            namespaces.end(self.sshd)
        self.log.close()


class Machines:
    """with Machines(world) as (a, b): the world's commands run at the client, its hosts are these."""

    def __init__(self, world):
        self.world, self.all = world, []

    def __enter__(self):
        w = self.world
        names = "".join(f"10.98.0.{n} machine{n}\n" for n in (1, 2))
        (w.dir / "hosts").write_text("127.0.0.1 localhost\n" + names)
        sshd.make_key(f"{w.dir}/id")
        try:
            self._join()
        except BaseException:
            self.close()
            raise
        w.prefix = self.client.command([])
        w.a, w.b = (m.uri for m in self.all)
        return self.all

    def _join(self):
        w = self.world
        self.client = namespaces.Space(f"""hostname client
mount --bind {w.dir}/hosts /etc/hosts
ip link set lo up
ip link add br0 type bridge
ip addr add 10.98.0.254/24 dev br0
ip link set br0 up""", own_pids=False)
        known = ""
        for number in (1, 2):
            machine = Machine(w, number)
            self.all.append(machine)
            self.client.run("ip", "link", "add", f"p{number}", "type", "veth", "peer", "name",
                            "eth0", "netns", str(machine.space.init))
            self.client.run("ip", "link", "set", f"p{number}", "master", "br0", "up")
            machine.space.run("ip", "addr", "add", f"{machine.address}/24", "dev", "eth0")
            machine.space.run("ip", "link", "set", "eth0", "up")
            machine.start_sshd()
            known += sshd.known_host(machine.dir, f"{machine.name},{machine.address}")
        (w.dir / "known_hosts").write_text(known)

    def link(self, machine, up):
        self.client.run("ip", "link", "set", f"p{machine.number}", "up" if up else "down")

    def close(self):
        for machine in self.all:
            machine.close()
        if hasattr(self, "client"):
            self.client.close()

    def __exit__(self, *_):
        self.close()
        self.world.prefix = []
