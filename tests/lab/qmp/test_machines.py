"""Between two hosts with a network of their own, over ssh; nothing runs there beforehand."""
import signal
import time

from machines import Machines
from world import World  # noqa: F401  (sets the path up)

import namespaces

PRIVATE = "-object memory-backend-ram,id=r,size=32M -machine memory-backend=r"


def there(w, name, here, gone):
    """It runs on that host and nothing of it is left on the other one."""
    w.wait_counts(name, 5)
    assert len(here.qemus()) == 1 and gone.qemus() == []
    assert gone.leftovers() == [], gone.leftovers()
    assert [x for x in here.leftovers() if isinstance(x, int)] == []


def test_over_ssh_there_and_back(w):
    with Machines(w) as (a, b):
        w.start("far", dirty=20, fill=24)
        w.run(w.a, "migrate", "far", w.b)
        there(w, "far", b, a)
        assert w.states(w.a) == {} and w.states(w.b) == {"far": "running"}
        w.run(w.b, "migrate", "far", w.a, "--parallel", "--migrateuri", "tcp://machine1:50000")
        there(w, "far", a, b)
        # The hosts by themselves; then with no port open but ssh's.
        w.run(w.a, "migrate", "--p2p", "--p2p-any-uri", "far", w.b)
        there(w, "far", b, a)
        w.run(w.b, "migrate", "--p2p", "--tunnelled", "--p2p-any-uri", "far", w.a)
        there(w, "far", a, b)


def test_over_ssh_with_its_disk(w):
    with Machines(w) as (a, b):
        (a.dir / "mnt/disk.raw").write_bytes(b"left" * (1 << 18))
        w.start("disk", dirty=20, extra="-drive if=none,id=d,format=raw,file=/mnt/disk.raw "
                                        "-device virtio-blk-pci,drive=d")
        w.run(w.a, "migrate", "disk", w.b, "--copy-storage-all")
        there(w, "disk", b, a)
        assert (b.dir / "mnt/disk.raw").read_bytes() == (a.dir / "mnt/disk.raw").read_bytes()


def test_the_link_is_cut_while_it_copies(w):
    machines = Machines(w)
    with machines as (a, b):
        w.start("cut", dirty=20, fill=24, extra=PRIVATE)
        for cut, options in ((b, []), (a, ["--p2p", "--p2p-any-uri", "--tunnelled"])):
            moving = w.background(w.a, "migrate", *options, "--bandwidth", "1", "cut", w.b)
            namespaces.wait_for("a copy", lambda: b.qemus())
            time.sleep(1)
            machines.link(cut, False)
            time.sleep(1)
            moving.send_signal(signal.SIGINT)
            if cut is a:
                machines.link(cut, True)  # or nobody could be asked
            text = moving.communicate(timeout=90)[0]
            machines.link(cut, True)
            assert moving.returncode in (1, 5), (moving.returncode, text)
            namespaces.wait_for("the incoming guest to end", lambda: not b.qemus(), 60)
            there(w, "cut", a, b)
        w.run(w.a, "migrate", "cut", w.b)
        there(w, "cut", b, a)


for _test in (test_over_ssh_there_and_back, test_over_ssh_with_its_disk,
              test_the_link_is_cut_while_it_copies):
    _test.needs_root = True
del _test
