"""Disks that only one side has are copied while the guest runs."""
import os
import random
import subprocess

from test_adopt import Monitor


def start(w, name, *images, monitor=None):
    w.run(w.a, "define", str(w.xml(name, images, monitor)))
    w.run(w.a, "start", name)
    w.wait_counts(name, 5)


def image(w, name, mib=8, seed=1):
    path = w.dir / name
    path.write_bytes(random.Random(seed).randbytes(mib << 20))
    return path


def test_disks_are_copied_and_written_to_meanwhile(w):
    here, there = image(w, "here.raw"), w.dir / "there.raw"
    start(w, "disk1", here, monitor=w.dir / "here.qmp")
    moved = w.xml("disk1", [there])
    moving = w.background(w.a, "migrate", "disk1", w.b, "--copy-storage-all", "--xml", str(moved),
                          "--bandwidth", "8")
    while not there.exists() or there.stat().st_blocks < 4096:
        assert moving.poll() is None, moving.communicate()
    monitor = Monitor(w.dir / "here.qmp")
    for offset in ("64k", "7M"):
        answer = monitor.ask("human-monitor-command",
                             **{"command-line": f'qemu-io disk0 "write -P 0x5a {offset} 64k"'})
        assert "error" not in answer, answer
    text, _ = moving.communicate(timeout=60)
    assert moving.returncode == 0, text
    w.wait_counts("disk1", 10)
    assert w.states(w.a) == {} and w.states(w.b) == {"disk1": "running"}
    w.run(w.b, "destroy", "disk1")
    data = there.read_bytes()
    assert data == here.read_bytes() and data[7 << 20:][:65536] == b"\x5a" * 65536


def test_disks_by_name_over_tcp(w):
    first, second = image(w, "a.raw", 2), image(w, "b.raw", 2, seed=2)
    start(w, "disk2", first, second)
    other = w.dir / "b-there.raw"
    moved = w.xml("disk2", [first, other])
    w.run(w.a, "migrate", "disk2", w.b, "--copy-storage-all", "--migrate-disks", "vdx", "--xml",
          str(moved), status=2)
    # What is not copied is shared, and must be: it is the same file.
    w.run(w.a, "migrate", "disk2", w.b, "--copy-storage-all", "--migrate-disks", "vdb", "--xml",
          str(moved), "--disks-uri", "tcp://127.0.0.1")
    w.wait_counts("disk2", 5)
    assert other.read_bytes() == second.read_bytes()


def test_increments_go_above_a_shared_backing_file(w):
    base = image(w, "base.raw", 2)
    for name in ("here.qcow2", "there.qcow2"):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(base),
                        str(w.dir / name)], check=True)
    subprocess.run(["qemu-io", "-c", "write -P 0x11 0 64k", str(w.dir / "here.qcow2")],
                   check=True, capture_output=True)

    def xml(name):
        path = w.xml("disk3", [w.dir / name])
        path.write_text(path.read_text().replace("type='raw'", "type='qcow2'"))
        return str(path)

    w.run(w.a, "define", xml("here.qcow2"))
    w.run(w.a, "start", "disk3")
    w.wait_counts("disk3", 5)
    w.run(w.a, "migrate", "disk3", w.b, "--copy-storage-inc", "--xml", xml("there.qcow2"))
    w.wait_counts("disk3", 5)
    w.run(w.b, "destroy", "disk3")
    there = w.dir / "there.qcow2"
    assert there.stat().st_size < 1 << 20, "the backing file was copied, too"
    done = subprocess.run(["qemu-io", "-r", "-c", "read -P 0x11 0 64k", str(there)],
                          capture_output=True, text=True)
    assert "verification failed" not in done.stdout and done.returncode == 0, done


def test_a_disk_is_never_copied_onto_itself(w):
    same = image(w, "same.raw", 2)
    before = same.read_bytes()
    start(w, "disk4", same)
    text = w.run(w.a, "migrate", "disk4", w.b, "--copy-storage-all", status=3)
    assert "one and the same file" in text, text
    w.wait_counts("disk4", 5)
    assert same.read_bytes() == before and len(w.processes()) == 1


def test_a_copy_of_disks_that_is_stopped_leaves_nothing(w):
    here, there = image(w, "slow.raw"), w.dir / "slow-there.raw"
    start(w, "disk5", here)
    moving = w.background(w.a, "migrate", "disk5", w.b, "--copy-storage-all", "--xml",
                          str(w.xml("disk5", [there])), "--bandwidth", "1")
    while not there.exists() or there.stat().st_blocks < 64:
        assert moving.poll() is None, moving.communicate()
    w.run(w.a, "domjobabort", "disk5")
    text, _ = moving.communicate(timeout=30)
    assert moving.returncode == 5, text
    w.wait_counts("disk5", 5)
    assert not there.exists() and len(w.processes()) == 1
    assert w.states(w.a) == {"disk5": "running"}
    assert all(entry.endswith(".job") for entry in os.listdir(w.dir / "b/run"))
