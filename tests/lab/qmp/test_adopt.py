"""QEMUs that someone else started: adopted, moved, or refused with the reason."""
import json
import os
import socket
import time


class Monitor:
    """A QMP client of another tool."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(str(path))
        self.lines = self.socket.makefile("rw")
        self.lines.readline()
        self.ask("qmp_capabilities")

    def ask(self, command, **arguments):
        self.lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.lines.flush()
        while True:
            answer = json.loads(self.lines.readline())
            if "return" in answer or "error" in answer:
                return answer

    def close(self):
        self.lines.close()
        self.socket.close()


def adopted(w, name, *options):
    return json.loads(w.run(w.a, "--output", "json", "adopt", "--qmp", f"{w.dir}/{name}.qmp",
                            *options))


def test_adopts_a_foreign_guest_and_moves_it(w):
    disk = w.dir / "disk.raw"
    disk.write_bytes(bytes(1 << 20))
    pid_file = w.dir / "web.pid"
    process = w.foreign("web", dirty=50, extra=[
        "-daemonize", "-pidfile", "web.pid", "-vnc", "unix:web.vnc",
        "-monitor", "unix:web.hmp,server=on,wait=off",
        "-drive", f"if=none,id=d0,format=raw,file={disk}", "-device", "virtio-blk-pci,drive=d0"])
    assert process.wait(timeout=10) == 0
    old = int(pid_file.read_text())
    looked = adopted(w, "web", "--dry-run")
    assert w.states(w.a) == {} and not looked["cannot"], looked
    found = adopted(w, "web")
    facts = {f["name"]: f["value"] for f in found["facts"]}
    assert facts["disk d0"].endswith("(raw, locked)"), facts
    assert facts["pid file"] == str(pid_file) and facts["directory"] == str(w.dir), facts
    assert found["machine"].startswith("pc-i440fx-") and not found["cannot"], found
    assert w.states(w.a) == {"web": "running"}
    w.run(w.a, "adopt", "--qmp", f"{w.dir}/web.qmp", status=1)  # already a domain
    w.run(w.a, "suspend", "web")
    w.run(w.a, "resume", "web")
    w.run(w.a, "migrate", "web", w.b)
    w.wait_counts("web", 10)
    assert w.states(w.a) == {} and w.states(w.b) == {"web": "running"}
    # Who looks for the guest finds the new process under the old names.
    [new] = w.processes()
    assert new != old and int(pid_file.read_text()) == new
    monitor = Monitor(w.dir / "web.qmp")
    assert monitor.ask("query-status")["return"]["running"]
    monitor.close()
    assert not list(w.dir.glob("*.new")), list(w.dir.iterdir())
    w.run(w.b, "destroy", "web")
    assert not pid_file.exists() and not w.processes()


def test_an_image_that_qemu_cannot_open_again_is_said_first(w):
    (w.dir / "disk.raw").write_bytes(bytes(1 << 20))
    w.foreign("lost", extra=["-daemonize", "-drive", "if=none,id=d0,format=raw,file=disk.raw",
                             "-device", "virtio-blk-pci,drive=d0"])
    found = adopted(w, "lost")
    assert len(found["cannot"]) == 1 and "disk 'd0'" in found["cannot"][0], found
    w.run(w.a, "migrate", "lost", w.b, status=3)
    w.wait_counts("lost", 5)


def test_a_failed_move_leaves_a_foreign_guest_its_names(w):
    process = w.foreign("stays", extra=["-pidfile", "stays.pid"])
    adopted(w, "stays")
    w.run(w.a, "migrate", "stays", w.b, "--migrateuri", f"unix:{w.dir}/no/such/dir/x", status=1)
    w.wait_counts("stays", 5)
    assert process.poll() is None and w.processes() == [process.pid]
    assert int((w.dir / "stays.pid").read_text()) == process.pid
    monitor = Monitor(w.dir / "stays.qmp")
    assert monitor.ask("query-status")["return"]["running"]
    monitor.close()
    assert not list(w.dir.glob("*.new"))


def test_passed_descriptors_are_understood(w):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{w.dir}/passed.sock")
    listener.listen()
    here, there = socket.socketpair()
    w.foreign("fds", pass_fds=[listener.fileno(), there.fileno()], extra=[
        "-chardev", f"socket,id=l,fd={listener.fileno()},server=on,wait=off",
        "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=l,name=l",
        "-chardev", f"socket,id=c,fd={there.fileno()}",
        "-device", "virtserialport,chardev=c,name=c"])
    found = adopted(w, "fds")
    assert any(f"listens on {w.dir}/passed.sock itself" in r for r in found["remarks"]), found
    assert len(found["here_only"]) == 1 and "id=c" in found["here_only"][0], found
    text = w.run(w.a, "migrate", "fds", w.b, status=3)
    assert "connection that ends here" in text, text
    w.wait_counts("fds", 5)
    here.close()


def test_what_another_process_would_not_have_is_said_first(w):
    w.foreign("plug", extra=["-device", "virtio-rng-pci,id=rng0"])
    monitor = Monitor(w.dir / "plug.qmp")
    plugged = monitor.ask("device_add", driver="virtio-balloon-pci", id="hot1")
    assert "return" in plugged, plugged
    w.run(w.a, "adopt", "--qmp", f"{w.dir}/plug.qmp", status=1)  # the monitor is in use
    assert w.states(w.a) == {}
    monitor.close()
    found = adopted(w, "plug")
    assert len(found["cannot"]) == 1 and "'hot1' was plugged in" in found["cannot"][0], found
    text = w.run(w.a, "migrate", "plug", w.b, status=3)
    assert "hot1" in text, text
    w.wait_counts("plug", 5)
    assert w.states(w.a) == {"plug": "running"}


def test_what_is_no_guest_to_adopt_is_refused(w):
    w.run(w.a, "adopt", "--qmp", f"{w.dir}/none.qmp", status=1)
    process = w.foreign("real")
    w.run(w.a, "adopt", "--qmp", f"{w.dir}/real.qmp", "--pid", str(os.getpid()), status=8)
    w.run(w.a, "adopt", "--qmp", f"{w.dir}/real.qmp", "--pid", str(process.pid))
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while w.states(w.a) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert w.states(w.a) == {}
