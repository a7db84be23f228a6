"""Post-copy: the guest goes on before its memory is there, and a broken link is mended.

QEMU needs userfaultfd for it, which it has as root, or where vm.unprivileged_userfaultfd is 1.
"""

# Memory of its own has to be copied, whatever the host.
PRIVATE = "-object memory-backend-ram,id=r,size=32M -machine memory-backend=r"
SLOW = ["--postcopy", "--bandwidth", "8", "--timeout", "1", "--timeout-postcopy"]


def test_goes_on_before_its_memory_is_there(w):
    w.start("post1", extra=PRIVATE, dirty=20, fill=24)
    text = w.run(w.a, "migrate", "post1", w.b, *SLOW)
    assert "switching to post-copy" in text, text
    w.wait_counts("post1", 10)
    assert w.states(w.a) == {} and w.state_of(w.b, "post1") == "running (migrated)"
    assert len(w.processes()) == 1


def test_a_broken_post_copy_is_mended(w):
    w.start("post2", extra=PRIVATE, dirty=20, fill=24)
    moving = w.background(w.a, "migrate", "post2", w.b, *SLOW, "--postcopy-bandwidth", "2")
    w.wait_state(w.b, "post2", "running (post-copy)")
    w.run(w.a, "domjobabort", "post2", status=1)  # there is no way back
    w.run(w.a, "domjobabort", "post2", "--postcopy")
    text, _ = moving.communicate(timeout=30)
    assert moving.returncode == 7 and "--postcopy-resume" in text, text
    w.wait_state(w.a, "post2", "paused (post-copy failed)")
    w.wait_state(w.b, "post2", "running (post-copy failed)")
    w.run(w.a, "resume", "post2", status=1)  # never two
    w.run(w.a, "migrate", "post2", w.b, "--postcopy", "--postcopy-resume")
    w.wait_counts("post2", 10)
    assert w.states(w.a) == {} and len(w.processes()) == 1


test_goes_on_before_its_memory_is_there.needs_root = True
test_a_broken_post_copy_is_mended.needs_root = True
