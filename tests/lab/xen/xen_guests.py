"""The kinds of pairs of hosts, and the guests that the hosts' saved state holds."""
from dataclasses import dataclass

PAIRS = {"4.17": ("4.17", "4.17"), "4.20": ("4.20", "4.20"), "mixed": ("4.17", "4.20")}


@dataclass
class Guest:
    """A guest of the snapshot: suspended on the first host, having counted to three or more."""
    name: str
    memory: int
    number: int
    machine: str = "xenpv"
    network: bool = False

    @property
    def disk(self):
        """Its name on both hosts, and of the file outside."""
        return f"vd{'abcd'[self.number]}"

    @property
    def uuid(self):
        return f"0adcd248-0fb2-4db2-b573-0f4091efa6a{self.number}"

    def xml(self, name=None):
        kind = "linux" if self.machine == "xenpv" else "xenpvh"
        card = (f"<interface type='bridge'><mac address='00:16:3e:00:00:0{self.number}'/>"
                "<source bridge='br0'/></interface>") if self.network else ""
        return f"""<domain type='xen'>
  <name>{name or self.name}</name>
  <uuid>{self.uuid}</uuid>
  <memory unit='MiB'>{self.memory}</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='{self.machine}'>{kind}</type><kernel>/guest/vmlinuz</kernel>
    <initrd>/guest/initrd</initrd><cmdline>console=hvc0 clocksource=xen quiet disk=1</cmdline></os>
  <on_crash>destroy</on_crash>
  <devices>
    <disk type='block' device='disk'><driver name='phy'/><source dev='/dev/{self.disk}'/>
      <target dev='xvda' bus='xen'/><shareable/></disk>
    {card}<console type='pty'><target type='xen' port='0'/></console>
  </devices>
</domain>"""


FULL = Guest("full", 128, 1, network=True)
PVH = Guest("pvh", 128, 2, machine="xenpvh", network=True)


def guests_of(kind):
    return [FULL, PVH] if kind == "4.20" else [FULL]
