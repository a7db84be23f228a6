"""The guest: assembled from guest.asm, described to libvirt, its counter read from serial logs."""
import re
import struct
import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).with_name("guest.asm")
TICKS_PER_SECOND = 50
SERIAL_DIR = "/var/log/libvirt"  # bound to a directory of its own in each host


def assemble(directory, fill_mib=0, dirty_pages=0, check=False, sectors=0):
    """Build an image that fills fill_mib MiB and writes dirty_pages pages of it each tick.

    check: a page that does not hold what was written last spoils the line of that tick (under
    software emulation QEMU before 9.0 itself loses writes of a running guest that is copied).
    sectors: so many of the first IDE disk are written in turn, each full of its tick's count.
    """
    if dirty_pages and not fill_mib:
        raise ValueError("a guest that dirties pages needs pages to dirty")
    plain = Path(directory) / "guest.bin"
    if not plain.exists():
        part = plain.with_suffix(".part")
        subprocess.run(["nasm", "-f", "bin", str(SOURCE), "-o", str(part)], check=True)
        part.rename(plain)
    image = bytearray(plain.read_bytes())
    at = image.index(b"VMFG") + 4
    image[at:at + 8] = struct.pack("<II", fill_mib * 256, dirty_pages)
    image[at + 12:at + 20] = struct.pack("<II", int(check), sectors)
    path = Path(directory) / f"guest-{fill_mib}-{dirty_pages}-{int(check)}-{sectors}.bin"
    path.write_bytes(image)
    return path


@dataclass
class Guest:
    """One domain as the tests define it."""
    name: str
    kernel: str
    memory_mib: int = 32
    machine: str = "pc-i440fx-7.2"
    disks: list = field(default_factory=list)  # (path, read-only)
    interface: str = ""  # as XML
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    log_name: str = ""
    # (host, offset in its serial log) in the order in which it ran there; None: source, destination
    trail: list = None

    def __post_init__(self):
        self.log_name = self.log_name or self.name + ".serial"

    def disk_xml(self):
        lines = []
        for n, (path, read_only) in enumerate(self.disks):
            lines.append(f"""<disk type='file' device='disk'><driver name='qemu' type='raw'/>
      <source file='{path}'/><target dev='vd{"abcd"[n]}' bus='virtio'/>
      {"<readonly/>" if read_only else ""}</disk>""")
        return "\n    ".join(lines)

    def xml(self, name=None):
        return f"""<domain type='qemu'>
  <name>{name or self.name}</name>
  <uuid>{self.uuid}</uuid>
  <memory unit='MiB'>{self.memory_mib}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='{self.machine}'>hvm</type>
    <kernel>{self.kernel}</kernel>
  </os>
  <cpu mode='custom' match='exact'><model fallback='forbid'>qemu64</model></cpu>
  <clock offset='utc'/>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    {self.disk_xml()}
    {self.interface}
    <serial type='file'>
      <source path='{SERIAL_DIR}/{self.log_name}' append='on'/>
      <target port='0'/>
    </serial>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    <video><model type='none'/></video>
  </devices>
</domain>
"""


def counter_bytes(raw):
    """What the guest itself wrote: firmware output before the first count is not its own."""
    start = raw.find(b"00000000\n")
    return raw[start:] if start >= 0 else raw


def join_counts(pieces):
    """Check the logs of one guest in the order of its hosts; returns (counts, problems).

    A line that a move split over two logs is read as one. Problems name a gap, a value that was
    written twice (two copies ran, or an old one did) and text that is no counter line.
    """
    text = b"".join(pieces)
    whole, _, _ = text.rpartition(b"\n")
    counts, problems = [], []
    for line in whole.split(b"\n"):
        if not re.fullmatch(rb"[0-9a-f]{8}", line):
            problems.append(f"serial log has {line[:40]!r} after count {len(counts)}")
            continue
        value = int(line, 16)
        if counts and value <= counts[-1]:
            problems.append(f"count {value} after {counts[-1]}: written twice")
        elif counts and value != counts[-1] + 1:
            problems.append(f"count {value} after {counts[-1]}: gap")
        counts.append(value)
    return counts, problems[:5]
