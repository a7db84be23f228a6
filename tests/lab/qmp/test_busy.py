"""A guest that writes all the time and checks what it finds: every page and sector arrives."""
import struct

import generations

PRIVATE = "-object memory-backend-ram,id=r,size=32M -machine memory-backend=r"
SECTORS = 1024


def check_disk(w, name, image):
    """Each sector has the last count that was written to it; the guest has been ended."""
    last = w.counts(name)[0][-1]
    data = image.read_bytes()
    for count in range(max(0, last - SECTORS + 2), last):
        at = (count % SECTORS) * 512
        assert data[at:at + 512] == struct.pack("<I", count) * 128, (count, last)


def test_a_busy_guest_is_copied_whole(w):
    """From 9.0 on QEMU can copy it while it runs, without KVM too."""
    newer = generations.newer(w.dir)
    w.start("busy", program=newer, machine="pc-i440fx-10.0", extra=PRIVATE, dirty=200, fill=24)
    for n, options in enumerate((["--bandwidth", "20"], ["--compressed"], ["--parallel"],
                                 ["--p2p", "--tunnelled"], [], ["--migrateuri",
                                                                f"unix:{w.dir}/data"])):
        source, target = (w.a, w.b) if n % 2 == 0 else (w.b, w.a)
        text = w.run(source, "migrate", "busy", target, *options)
        assert "is paused while" not in text, text
        w.wait_counts("busy", 64)  # each page has been looked at twice
    assert len(w.processes()) == 1


def test_an_old_qemu_is_stopped_before_its_memory_is_copied(w):
    w.start("old", extra=PRIVATE, dirty=200, fill=24)
    text = w.run(w.a, "migrate", "old", w.b)
    assert "is paused while its memory is copied" in text, text
    w.wait_counts("old", 64)


def test_a_busy_disk(w):
    """Over NBD to another image, then by the lock from process to process."""
    newer = generations.newer(w.dir)
    here, there = w.dir / "here.raw", w.dir / "there.raw"
    here.write_bytes(bytes(4 << 20))
    w.start("log", program=newer, machine="pc-i440fx-10.0", dirty=100, fill=8, sectors=SECTORS,
            extra=f"-drive if=none,id=d,format=raw,file={here} -device ide-hd,drive=d,bus=ide.0")
    moved = w.dir / "moved.xml"
    moved.write_text(w.quiet(w.a, "dumpxml", "log").replace(str(here), str(there)))
    w.run(w.a, "migrate", "log", w.b, "--copy-storage-all", "--xml", str(moved))
    w.wait_counts("log", 20)
    for _ in range(3):
        w.run(w.b, "upgrade", "log")
        w.wait_counts("log", 5)
    w.run(w.b, "destroy", "log")
    check_disk(w, "log", there)


test_a_busy_guest_is_copied_whole.needs_root = True
test_a_busy_disk.needs_root = True
