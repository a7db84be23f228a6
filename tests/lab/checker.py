"""Judges the end of a migration without the tool that made it.

Evidence: stock libvirt on both hosts past every proxy, the processes and listeners of each host,
and the guest's own counter in both serial logs.
"""
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

import libvirt

from guest import counter_bytes, join_counts
from hosts import MIGRATION_PORTS

_STATES = {libvirt.VIR_DOMAIN_RUNNING: "running", libvirt.VIR_DOMAIN_PAUSED: "paused",
           libvirt.VIR_DOMAIN_SHUTOFF: "shutoff", libvirt.VIR_DOMAIN_CRASHED: "crashed",
           libvirt.VIR_DOMAIN_SHUTDOWN: "shutdown"}

# Where the guest may be, as (source, destination). "off" is absent or only defined.
PLACES = {"S": ("running", "off"), "D": ("off", "running"), "W": ("paused", "off"),
          "L": ("off", "off"), "D-paused": ("off", "paused"), "S-paused": ("paused", "off")}

# What an exit status claims. 1 and 5 promise the guest safe where it was (which may be lost with
# its own hypervisor, never by us); 6 admits a leftover; 7 claims nothing but "look".
CLAIMS = {0: {"D", "D-paused"}, 1: {"S", "S-paused", "L"}, 3: {"S", "S-paused", "L"},
          4: {"S", "S-paused", "L"}, 5: {"S", "S-paused", "L"}, 6: {"D", "D-paused"}}


@dataclass
class Seen:
    """A guest on one host."""
    state: str = "absent"
    reason: int = 0
    persistent: bool = False
    job: bool = False

    @property
    def place(self):
        return "off" if self.state in ("absent", "shutoff", "crashed") else self.state


def _has_job(domain):
    try:
        return domain.jobInfo()[0] != 0
    except libvirt.libvirtError as error:
        # The incoming half of a migration has a job whose figures only the source knows.
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_UNSUPPORTED:
            return True
        raise


def look(host, guest):
    """The guest, found by UUID, so under whatever name."""
    try:
        domain = host.connection.lookupByUUIDString(guest.uuid)
        state, reason = domain.state()
        job = state != libvirt.VIR_DOMAIN_SHUTOFF and _has_job(domain)
        return Seen(_STATES.get(state, str(state)), reason, bool(domain.isPersistent()), job)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return Seen()
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID:
            return look(host, guest)  # it ended between two of the questions
        raise


def where(lab, guest):
    """Letter of PLACES, or a description when the pair has none."""
    source, destination = (look(host, guest).place for host in lab.hosts)
    for letter, pair in PLACES.items():
        if (source, destination) == pair:
            return letter
    return f"source {source}, destination {destination}"


def settle_at(lab, guest, letters, seconds):
    """Wait until the guest is at one of these letters; returns where it is in the end."""
    end = time.monotonic() + seconds
    while True:
        found = where(lab, guest)
        if found in letters or time.monotonic() > end:
            return found
        time.sleep(0.1)


def counter_problems(lab, guest):
    """Two copies, an old copy, or a gap, told by the guest's own counter."""
    pieces = []
    trail = guest.trail or [(host, 0) for host in lab.hosts]
    for n, (host, start) in enumerate(trail):
        ends = [offset for later, offset in trail[n + 1:] if later is host]
        pieces.append(host.serial_log(guest.log_name)[start:ends[0] if ends else None])
    pieces[0] = counter_bytes(pieces[0])
    counts, problems = join_counts(pieces)
    return problems if counts else ["the guest never counted"]


def _job_in_status_file(host, guest):
    for path in (Path(host.dir) / "run/qemu").glob("*.xml"):
        try:
            text = path.read_text(errors="replace")
        except FileNotFoundError:
            continue
        if guest.uuid in text and re.search(r"<job [^>]*async='(?!none')", text):
            return True
    return False


def leftover_problems(lab, guest):
    """Processes, listeners and jobs that nothing accounts for."""
    problems = []
    for host in lab.hosts:
        active = host.connection.numOfDomains()
        processes = host.qemu_pids()
        if len(processes) != active:
            problems.append(f"{host.name}: {active} active domains, QEMU processes: "
                            f"{list(processes.values()) or 'none'}")
        ports = sorted(host.space.listening_ports() & set(MIGRATION_PORTS))
        if ports:
            problems.append(f"{host.name}: still listening on {ports}")
        if look(host, guest).job or _job_in_status_file(host, guest):
            problems.append(f"{host.name}: a job is left on {guest.name}")
    return problems


def journal_entries(lab):
    """Open entries of vmferry's journal (its state directory is the lab's own)."""
    found = []
    for directory, _, names in os.walk(f"{lab.dir}/state"):
        found += [os.path.join(directory, name) for name in names if name.endswith(".json")]
    return found


def _alive_problems(lab, guest, found):
    """The running copy goes on, and nothing else writes."""
    runs = {"S": 0, "D": 1, "source paused, destination running": 1}.get(found)
    before = [lab.ticks(host, guest) for host in lab.hosts]
    problems = []
    if runs is not None:
        try:
            lab.wait_ticks(lab.hosts[runs], guest, 5, seconds=10)
        except TimeoutError as error:
            problems.append(str(error))
    else:
        time.sleep(0.2)
    for n, host in enumerate(lab.hosts):
        if n != runs and lab.ticks(host, guest) != before[n]:
            problems.append(f"{host.name}: a copy runs there too")
    return problems


def check(lab, guest, expected, status=None, seconds=15, leftovers=True):
    """Everything that is wrong with the end of a migration, as a list of sentences.

    expected: one letter of PLACES or several. status: exit status whose claim is to be true.
    """
    found = settle_at(lab, guest, expected, seconds)
    problems = []
    if found not in expected:
        problems.append(f"expected the guest at {expected}, found: {found} "
                        f"({look(lab.source, guest)}, {look(lab.destination, guest)})")
    problems += _alive_problems(lab, guest, found)
    problems += counter_problems(lab, guest)
    if leftovers:
        problems += _settled_leftovers(lab, guest)
    if status is not None and status in CLAIMS and found not in CLAIMS[status]:
        problems.append(f"exit status {status} is not true: {found}")
    return problems


def _settled_leftovers(lab, guest, seconds=5):
    end = time.monotonic() + seconds
    while True:
        problems = leftover_problems(lab, guest)
        if not problems or time.monotonic() > end:
            return problems
        time.sleep(0.2)


def verify(lab, guest, expected, status=None, **options):
    """check(), raising AssertionError with all problems."""
    problems = check(lab, guest, expected, status, **options)
    assert not problems, "\n".join(problems)
