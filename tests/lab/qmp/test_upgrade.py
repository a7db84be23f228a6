"""Another QEMU under a running guest. VMFERRY_UPGRADES=100 makes the long row longer."""
import json
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

import generations

QUEUE = 0x0100  # IFF_MULTI_QUEUE, linux/if_tun.h


def process_of(w, name):
    return json.loads(w.quiet(w.a, "--output", "json", "dominfo", name))["id"]


def descriptors(pid):
    """What a process has open, without the numbers that differ from one to the next."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except OSError:
            continue
        found.append(target.split("[")[0].split("/run/")[0])
    return sorted(found)


def resident_kib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def files(w):
    """Of the host's directory, each process's own directory under one name."""
    return sorted(p.name if "." not in p.parent.name else "process/" + p.name
                  for p in (w.dir / "a").rglob("*") if p.is_file() and p.suffix != ".lock")


def wait_until(condition, message):
    """A monitor's client may just be leaving."""
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, message
        time.sleep(0.02)


def test_many_upgrades_in_a_row_leave_nothing(w):
    w.start("row", dirty=50)
    programs = [generations.OLD]
    if os.geteuid() == 0:
        programs.insert(0, generations.newer(w.dir))
    state = {}
    for n in range(int(os.environ.get("VMFERRY_UPGRADES", "30"))):
        text = w.run(w.a, "upgrade", "row", "--emulator", programs[n % len(programs)])
        assert "memory handed over" in text, text
        pid = process_of(w, "row")
        time.sleep(0.02)
        now = (descriptors(pid), files(w))
        # The first two came from another kind of start; from then on nothing may differ.
        if n >= 4:
            before, memory = state[n % 2]
            wait_until(lambda: (descriptors(pid), files(w)) == before, (n, before, now))
            assert resident_kib(pid) < memory * 1.2 + 8192, (n, memory, resident_kib(pid))
        else:
            state[n % 2] = (now, resident_kib(pid))
    w.wait_counts("row", 10)
    assert len(w.processes()) == 1 and w.states(w.a) == {"row": "running"}


def test_both_generations_and_back(w):
    newer = generations.newer(w.dir)
    for name, machine in (("gen1", "pc"), ("gen2", "q35")):
        image = w.dir / f"{name}.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "64M"], check=True)
        w.start(name, extra=f"-M {machine} -drive file={image},if=none,id=d,format=qcow2 "
                            "-device virtio-blk-pci,drive=d -vga std -device virtio-net-pci", dirty=50)
        for program, version in ((newer, "to 10."), (generations.OLD, "to 7."), (newer, "to 10.")):
            text = w.run(w.a, "upgrade", name, "--emulator", program)
            assert version in text and "memory handed over" in text, text
            w.wait_counts(name, 5)
        w.run(w.a, "destroy", name)
        subprocess.run(["qemu-img", "check", "-q", str(image)], check=True)


test_both_generations_and_back.needs_root = True


def test_a_machine_that_the_other_program_lacks(w):
    newer = generations.newer(w.dir)
    w.start("lack", program=newer, machine="pc-i440fx-10.0")
    text = w.run(w.a, "upgrade", "lack", "--emulator", generations.OLD, status=3)
    assert "pc-i440fx-10.0" in text and "pc-i440fx-7.2" in text, text
    w.wait_counts("lack", 5)
    assert len(w.processes()) == 1


test_a_machine_that_the_other_program_lacks.needs_root = True


def test_private_memory_is_copied_once(w):
    w.start("own", extra="-object memory-backend-ram,id=r,size=32M -machine memory-backend=r",
            dirty=50)
    text = w.run(w.a, "upgrade", "own", "--dry-run")
    assert "memory would be copied" in text and "share=on" in text, text
    text = w.run(w.a, "upgrade", "own")
    assert "memory copied" in text and "is paused while its memory is copied" in text, text
    w.wait_counts("own", 10)


def test_memory_of_ones_own_shared_backends(w):
    path = w.dir / "ram"
    for name, backend in (("memfd", "memory-backend-memfd,id=r,size=32M,share=on"),
                          ("file", f"memory-backend-file,id=r,size=32M,share=on,mem-path={path}")):
        w.start(name, extra=f"-object {backend} -machine memory-backend=r", dirty=50)
        for _ in range(3):
            text = w.run(w.a, "upgrade", name)
            assert "memory handed over" in text, text
            w.wait_counts(name, 5)
            path.unlink(missing_ok=True)  # QEMU has it open: it is found again
        w.run(w.a, "destroy", name)


def test_memory_that_only_qemu_itself_can_hand_over(w):
    """10.0 leaves memfd backends to its own cpr-transfer; 7.2 does not know that."""
    newer = generations.newer(w.dir)
    w.start("cpr", program=newer, machine="pc-i440fx-7.2,aux-ram-share=on", dirty=50, extra=(
        "-object memory-backend-memfd,id=r,size=32M,share=on -machine memory-backend=r"))
    for _ in range(3):
        text = w.run(w.a, "upgrade", "cpr")
        assert "memory handed over" in text, text
        w.wait_counts("cpr", 5)
    text = w.run(w.a, "upgrade", "cpr", "--emulator", generations.OLD, status=1)
    assert "aux-ram-share" in text, text
    w.wait_counts("cpr", 5)
    assert len(w.processes()) == 1


test_memory_that_only_qemu_itself_can_hand_over.needs_root = True


def test_a_rehearsal_changes_nothing(w):
    w.start("play", dirty=50)
    before = process_of(w, "play")
    text = w.run(w.a, "upgrade", "play", "--rehearse", "--dry-run")
    assert "rehearsed" in text, text
    assert process_of(w, "play") == before
    w.wait_counts("play", 10)
    assert len(w.processes()) == 1
    w.run(w.a, "upgrade", "play", "--rehearse")
    w.wait_counts("play", 10)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def port_is_open(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def test_ports_sockets_and_their_clients(w):
    forwarded, serial, display = free_port(), free_port(), random.randint(1000, 20000)
    w.start("ports", extra=(
        f"-netdev user,id=n,hostfwd=tcp:127.0.0.1:{forwarded}-:80 -device virtio-net-pci,netdev=n "
        f"-serial tcp:127.0.0.1:{serial},server,nowait -vnc 127.0.0.1:{display} "
        f"-monitor unix:{w.dir}/hmp,server,nowait"))
    for _ in range(3):
        text = w.run(w.a, "upgrade", "ports")
        assert "forwarded port" in text, text
        for port in (forwarded, serial, 5900 + display):
            assert port_is_open(port), port
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(f"{w.dir}/hmp")
            assert b"QEMU" in s.recv(200)
        w.wait_counts("ports", 5)
    assert not list(w.dir.glob("*.new"))


def test_a_tap_device_stays_up(w):
    name = f"vmf{os.getpid() % 100000}"
    subprocess.run(["ip", "tuntap", "add", "dev", name, "mode", "tap"], check=True)
    try:
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        w.start("tap", extra=f"-netdev tap,id=n,ifname={name},script=no,downscript=no "
                             "-device virtio-net-pci,netdev=n")
        for _ in range(3):
            w.run(w.a, "upgrade", "tap")
            assert Path(f"/sys/class/net/{name}/carrier").read_text().strip() == "1"
            w.wait_counts("tap", 5)
        w.run(w.a, "destroy", "tap")
        carrier, deadline = Path(f"/sys/class/net/{name}/carrier"), time.monotonic() + 10
        while carrier.read_text().strip() != "0":  # the kernel tells it a little later
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        subprocess.run(["ip", "link", "del", name], check=True)


test_a_tap_device_stays_up.needs_root = True


def test_what_belongs_to_one_process_is_refused_beforehand(w):
    w.start("spice", extra=f"-spice port={free_port()},disable-ticketing=on")
    before = process_of(w, "spice")
    text = w.run(w.a, "upgrade", "spice", status=3)
    assert "spice" in text and "unix=on" in text, text
    assert process_of(w, "spice") == before
    w.wait_counts("spice", 5)


def other_process(w, old):
    """The incoming process of a move that has been begun."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        for pid in w.processes():
            if pid != old and b"defer" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        time.sleep(0.001)
    raise AssertionError("no second process")


def test_a_new_process_that_hangs_is_given_up(w):
    w.start("hang", dirty=50)
    old = process_of(w, "hang")
    upgrade = w.background(w.a, "upgrade", "hang")
    os.kill(other_process(w, old), signal.SIGSTOP)
    time.sleep(0.5)
    upgrade.send_signal(signal.SIGINT)  # and Ctrl-C ends the wait
    out = upgrade.communicate(timeout=20)[0]
    assert upgrade.returncode == 5, (upgrade.returncode, out)
    w.wait_counts("hang", 10)
    assert w.processes() == [old], (old, w.processes(), out)
    w.run(w.a, "upgrade", "hang")
    w.wait_counts("hang", 5)


def test_killed_at_any_moment_one_guest_is_left(w):
    """The command is killed, or the new process is, a little later each time."""
    w.start("cut", dirty=50)
    seen = set()
    for n in range(24):
        old = process_of(w, "cut")
        upgrade = w.background(w.a, "upgrade", "cut")
        new = other_process(w, old)
        time.sleep(0.004 * n)
        victim = upgrade.pid if n % 2 else new
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            pass
        out = upgrade.communicate(timeout=30)[0]
        seen.add(upgrade.returncode)
        assert upgrade.returncode in (0, 1, 7, -signal.SIGKILL), (upgrade.returncode, out)
        # Where nobody can know whether it ran, cleanup does not either.
        cleaned = w.background(w.a, "cleanup")
        out = cleaned.communicate(timeout=30)[0]
        assert cleaned.returncode in ((0, 7) if upgrade.returncode == 7 else (0,)), (n, out)
        if upgrade.returncode == 7 or (upgrade.returncode == 0 and victim == new):
            # it ran in the new process, which is dead: only a new start is right
            for pid in w.processes():
                os.kill(pid, signal.SIGKILL)
            (w.dir / "cut.serial").unlink()
            w.run(w.a, "start", "cut")
        w.wait_counts("cut", 3)
        assert len(w.processes()) == 1, (n, w.processes())
        assert w.states(w.a) == {"cut": "running"}, n
    assert -signal.SIGKILL in seen and 1 in seen, seen


def test_all_guests_and_one_that_cannot(w):
    names = [f"many{n}" for n in range(6)]
    for name in names:
        w.start(name, dirty=20)
    w.start("never", extra=f"-spice port={free_port()},disable-ticketing=on")
    text = w.run(w.a, "upgrade", "--all", "--jobs", "3", status=3)
    assert text.count("memory handed over") >= 6 and "FAILED" in text, text
    for name in (*names, "never"):
        w.wait_counts(name, 5)
    assert len(w.processes()) == 7
