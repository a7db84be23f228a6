"""Those examples of the manual that need bare QEMU or a server; only their paths are changed."""
import shutil
import signal
import subprocess
import time

from world import ROOT


def examples():
    """The words after "vmferry" of each."""
    found = []
    for page in sorted((ROOT / "man").glob("*.1")):
        lines = page.read_text().splitlines()
        for before, line in zip(lines, lines[1:]):
            needs_more = "qmp:///" in line or " serve " in line
            if before == ".RS 4" and line.startswith(".B vmferry ") and needs_more:
                found.append(line.replace("\\-", "-").split()[2:])
    return found


def serve(w, words):
    server = subprocess.Popen([w.vmferry, *words], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    w.started.append(server)
    if "--listen" in words:
        path = words[words.index("--listen") + 1].removeprefix("unix:")
        deadline = time.monotonic() + 20
        listing = [w.vmferry, "-c", f"test+unix:///default?socket={path}", "list", "--all"]
        while subprocess.run(listing, capture_output=True, timeout=20).returncode != 0:
            assert server.poll() is None and time.monotonic() < deadline, server.stdout.read()
            time.sleep(0.1)
        server.send_signal(signal.SIGTERM)
    output, _ = server.communicate(timeout=20)
    assert server.returncode == 0, output


def test_examples_of_the_manual(w):
    w.foreign("web1")
    places = {"qmp:///session": w.a, "qmp:///system": w.a,
              "/run/user/1000/web1.qmp": f"{w.dir}/web1.qmp", "/run/web1.qmp": f"{w.dir}/web1.qmp",
              "/opt/qemu/bin/qemu-system-x86_64": shutil.which("qemu-system-x86_64"),
              "unix:/run/user/1000/vmferry.sock": f"unix:{w.dir}/vmferry.sock"}
    # What is looked at is not adopted yet, and what is upgraded is.
    turns = [("adopt", "--dry-run"), ("adopt",), ("upgrade",), ("serve",)]

    def turn(words):
        return next(n for n, marks in enumerate(turns) if set(marks) <= set(words))

    found = sorted(([places.get(word, word) for word in words] for words in examples()), key=turn)
    assert {turn(words) for words in found} == set(range(len(turns))), found
    for words in found:
        if words[0] == "serve":
            serve(w, words)
        else:
            assert words[0] == "-c", words
            w.run(words[1], *words[2:])
    w.wait_counts("web1", 5)
    assert w.states(w.a) == {"web1": "running"}
