"""The contract of every Host (tests/contract) over real QEMUs, here and behind `vmferry serve`."""
import subprocess
from pathlib import Path

from test_servers import served

PRIVATE = "-object memory-backend-ram,id=r,size=32M -machine memory-backend=r"


def check(w, a, b, name):
    program = Path(w.vmferry).parent / "tests/contract_real"
    done = subprocess.run([str(program), a, b, name], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    w.wait_counts(name, 5)
    assert w.states(w.a) == {name: "running"} and w.states(w.b) == {}
    assert len(w.processes()) == 1


def test_contract_here(w):
    w.start("kept", extra=PRIVATE, dirty=20, fill=24)
    check(w, w.a, w.b, "kept")


def test_contract_behind_servers(w):
    w.start("kept", extra=PRIVATE, dirty=20, fill=24)
    with served(w, f"unix:{w.dir}/a.sock", f"unix:{w.dir}/b.sock"):
        check(w, *(f"qmp+unix:///session?socket={w.dir}/{n}.sock" for n in "ab"), "kept")
