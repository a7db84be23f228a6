#!/usr/bin/python3
"""Our server beside other ways of doing the same. Prints a table of ratios, writes JSON.

Measured, in turns: a tunnelled stream through our client and server beside a plain socket that
socat relays; `list` of 10,000 defined guests by vmferry beside virsh, time and memory, on the same
server. With --lab (root): beside libvirt's own tunnelled migration between two real hosts. Needs
Debian's packages socat and time.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import libvirt

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "lab"))

from namespaces import end, wait_for  # noqa: E402
from servers import Connection, Server  # noqa: E402

GUESTS = 10_000
MIB = 1024


def output(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=300).stdout


def stream_rates(build, directory, runs):
    """Bytes a second of each run: through our client and server, and through socat."""
    bench = str(build / "tests/stream_bench")
    path, relayed = f"{directory}/stream", f"{directory}/relayed"
    server = subprocess.Popen([bench, "serve", path])
    ours, plain = [], []
    try:
        wait_for("the server to listen", lambda: os.path.exists(path))
        for _ in range(runs):
            ours.append(float(output(bench, "send", path, str(MIB))))
            relay = subprocess.Popen(["socat", "-b", "65536", "-u", f"UNIX-LISTEN:{relayed}",
                                      "OPEN:/dev/null"])
            wait_for("socat to listen", lambda: os.path.exists(relayed))
            plain.append(float(output(bench, "plain", relayed, str(MIB))))
            relay.wait(timeout=10)
    finally:
        end(server)
    return ours, plain


def timed(directory, *argv):
    """(seconds, KiB of memory at most) of a command.

    A child of Python begins with Python's own peak; one of the small program `time` does not.
    """
    peak = Path(directory) / "peak"
    begin = time.monotonic()
    subprocess.run(["/usr/bin/time", "-f", "%M", "-o", str(peak), *argv], check=True,
                   stdout=subprocess.DEVNULL)
    return time.monotonic() - begin, int(peak.read_text())


def define_guests(uri):
    xml = ("<domain type='test'><name>g{0}</name><memory unit='MiB'>64</memory>"
           "<os><type>hvm</type></os></domain>")
    with Connection(uri) as connection:
        for number in range(GUESTS):
            connection.defineXML(xml.format(number))


def list_figures(vmferry, directory, runs):
    server = Server(vmferry, directory, "default")
    ours, theirs = [], []
    try:
        define_guests(server.uri)
        for _ in range(runs):
            ours.append(timed(directory, vmferry, "-c", server.uri, "list", "--all"))
            theirs.append(timed(directory, "virsh", "-c", server.uri, "list", "--all"))
        pid = server.process.pid
        status = Path(f"/proc/{pid}/status").read_text()
        held = int(status.partition("VmHWM:")[2].split()[0])
    finally:
        server.close()
    return ours, theirs, held


def libvirt_rate(vmferry):
    """Bytes a second of libvirt's own tunnelled migration of a guest with 192 MiB to send."""
    from lab import Lab
    lab = Lab(vmferry)
    try:
        guest = lab.guest(fill=192)
        result = lab.migrate(guest, "--live", "--p2p", "--tunnelled", "--bandwidth", "100000",
                             destination=lab.destination.uri("tcp"))
        assert result.status == 0, result
        domain = lab.destination.connection.lookupByName(guest.name)
        stats = domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
        return stats["memory_processed"] / (stats["time_elapsed"] / 1000)
    finally:
        lab.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default=str(TESTS.parent / "build/release"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--lab", action="store_true")
    parser.add_argument("--json", default=str(TESTS.parent / "build/serve_bench.json"),
                        help="where the figures go")
    options = parser.parse_args()
    build = Path(options.build).resolve()
    vmferry = str(build / "vmferry")
    table = {}
    with tempfile.TemporaryDirectory(prefix="vmbench-", dir="/tmp") as directory:
        ours, plain = map(statistics.median, stream_rates(build, directory, options.runs))
        table["stream MiB/s, other: socat"] = (ours / 2**20, plain / 2**20)
        if options.lab:
            table["stream MiB/s, other: libvirt tunnel"] = (ours / 2**20,
                                                            libvirt_rate(vmferry) / 2**20)
        mine, theirs, held = list_figures(vmferry, directory, options.runs)
        for column, name in ((0, "s"), (1, "KiB")):
            table[f"list of {GUESTS}, {name}, other: virsh"] = tuple(
                statistics.median(run[column] for run in runs) for runs in (mine, theirs))
        table[f"server's memory with {GUESTS} guests, KiB"] = (held, 0)
    print(f"{'median of ' + str(options.runs):42}{'vmferry':>10}{'other':>10}{'ratio':>8}")
    for name, (a, b) in table.items():
        print(f"{name:42}{a:>10.2f}{b:>10.2f}{f'{a / b:.3f}' if b else '-':>8}")
    Path(options.json).write_text(json.dumps(table, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
