#!/usr/bin/python3
"""vmferry beside virsh, in one run, on the same two real libvirt hosts. Needs root.

Measured: sequential round trips of one managed migration, up to its result and with the goodbyes
that follow; the time between Perform's reply and
Finish's request, which is guest downtime; the whole command without delay and with 50 ms between
client and hosts; start-up; `list`. Prints a table with ratios, writes JSON.
"""
import argparse
import collections
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "lab"))

from checker import verify  # noqa: E402
from lab import Lab  # noqa: E402
from rpc_proxy import GOODBYE, POLLING, round_trips, switch_gap  # noqa: E402

DELAYED = 0.025  # seconds each way: 50 ms there and back


def migrate(lab, program, delay):
    """One managed migration through proxies: (seconds, proxies of source and destination)."""
    guest = lab.guest(persistent=True)
    ends = lab.proxy(lab.source, delay), lab.proxy(lab.destination, delay)
    result = lab.finish(lab.client(program, *lab.migrate_args(
        guest, "--live", source=ends[0], destination=ends[1])))
    assert result.status == 0, result
    verify(lab, guest, "D", 0)
    return result.seconds, ends


def measure_migration(lab, program, figures):
    """One run without and one with delay, added to the figures."""
    seconds, ends = migrate(lab, program, 0.0)
    figures["seconds_at_0_ms"].append(seconds)
    figures["switch_gap_ms"].append(switch_gap(*ends) * 1000)
    lab.reset()
    seconds, ends = migrate(lab, program, DELAYED)
    figures["seconds_at_50_ms"].append(seconds)
    figures["round_trips"].append(round_trips(ends, POLLING | GOODBYE))
    figures["round_trips_and_goodbye"].append(round_trips(ends))
    lab.reset()


def measure_command(lab, argv, runs):
    """Milliseconds of each run, the first one (cold caches) not counted."""
    times = []
    for _ in range(runs + 1):
        begin = time.monotonic()
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, env=lab.environment())
        times.append((time.monotonic() - begin) * 1000)
    return times[1:]


def measure(lab, programs, runs):
    """Figures of each program; they take turns, so that a busy moment meets both."""
    figures = [collections.defaultdict(list) for _ in programs]
    migrate(lab, programs[-1], 0.0)  # the daemons learn of QEMU's abilities once
    lab.reset()
    for _ in range(runs):
        for program, mine in zip(programs, figures):
            measure_migration(lab, program, mine)
    lab.guest()
    for program, mine in zip(programs, figures):
        mine["start_ms"] = measure_command(lab, [program, "--version"], runs * 4)
        mine["list_ms"] = measure_command(lab, [program, "-c", lab.source.uri(), "list"], runs * 4)
    return figures


def summarise(ours, theirs):
    """{figure: {"vmferry", "virsh", "ratio", and the single values}}; medians."""
    table = {}
    for name, values in ours.items():
        a, b = statistics.median(values), statistics.median(theirs[name])
        table[name] = {"vmferry": round(a, 3), "virsh": round(b, 3),
                       "ratio": round(a / b, 3) if b else None,
                       "values": {"vmferry": [round(v, 3) for v in values],
                                  "virsh": [round(v, 3) for v in theirs[name]]}}
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vmferry", default=str(TESTS.parent / "build/release/vmferry"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", default=str(TESTS.parent / "build/libvirt_bench.json"),
                        help="where the figures go")
    options = parser.parse_args()
    lab = Lab(os.path.abspath(options.vmferry))
    try:
        ours, theirs = measure(lab, [lab.vmferry, "virsh"], options.runs)
    finally:
        lab.close()
    table = summarise(ours, theirs)
    Path(options.json).write_text(json.dumps(table, indent=1) + "\n")
    print(f"{'median of ' + str(options.runs):24}{'vmferry':>10}{'virsh':>10}{'ratio':>8}")
    for name, row in table.items():
        print(f"{name:24}{row['vmferry']:>10}{row['virsh']:>10}{row['ratio'] or '-':>8}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
