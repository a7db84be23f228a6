#!/usr/bin/python3
"""Tests of vmferry between real libvirt hosts. Needs root; see README.md."""
import argparse
import importlib
import multiprocessing
import os
import queue
import re
import signal
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import namespaces  # noqa: E402

TEST_SECONDS = 150
# What libvirtd says in its log because it lives in namespaces.
LOG_NOISE = ("ethtool", "system bus", "DBus", "dmidecode", "DMI", "cgroup", "is tainted")


def discover():
    """{name: function} in the order of the files."""
    tests = {}
    for path in sorted(HERE.glob("test_*.py")):
        module = importlib.import_module(path.stem)
        for name, value in vars(module).items():
            if name.startswith("test_") and callable(value):
                assert name not in tests, f"two tests are called {name}"
                tests[name] = value
    return tests


class TestTimeout(Exception):
    """A test ran longer than TEST_SECONDS."""


def _alarm(_number, _frame):
    raise TestTimeout(f"longer than {TEST_SECONDS} s")


def _stop(_number, _frame):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once: cleaning up is not to be interrupted
    raise SystemExit(1)


class Worker:
    """Runs tests one after the other, on hosts that it makes once for each kind."""

    def __init__(self, options):
        self.options, self.labs = options, {}

    def lab(self, kind):
        if kind not in self.labs:
            import lab
            roots = {}
            if kind == "mixed":
                import backports
                roots = {2: backports.root()}
            self.labs[kind] = lab.Lab(self.options.vmferry, roots, self.options.keep)
        return self.labs[kind]

    def run(self, function):
        """(passed, seconds, report)"""
        kind = getattr(function, "hosts", "same")
        begin = time.monotonic()
        passed, report = True, ""
        signal.alarm(TEST_SECONDS)
        try:
            lab = self.lab(kind)
            try:
                function(lab)
            except BaseException:
                report = _evidence(lab)
                raise
            lab.reset()
        except Exception:
            passed = False
            report += traceback.format_exc()
            self._replace(kind)
        finally:
            signal.alarm(0)
        return passed, time.monotonic() - begin, report

    def _replace(self, kind):
        """After a failure the next test starts on hosts that are known to be clean."""
        lab = self.labs.pop(kind, None)
        if lab:
            lab.close()

    def close(self):
        for kind in list(self.labs):
            self._replace(kind)


def _domains(host):
    """What stock libvirt says of every domain, for the report of a failed test."""
    import libvirt
    lines = []
    try:
        for domain in host.connection.listAllDomains():
            lines.append(f"{host.name}: {domain.name()} state {domain.state()}, "
                         f"job {domain.jobStats() if domain.isActive() else None}")
    except (libvirt.libvirtError, TimeoutError, RuntimeError) as error:
        lines.append(f"{host.name}: {error}")
    return lines


def _evidence(lab):
    lines = [str(result) for result in lab.results]
    for host in lab.hosts:
        lines += _domains(host)
        log = host.dir / "log/libvirtd.log"
        if log.exists():
            tail = [one for one in log.read_text(errors="replace").splitlines()
                    if not any(word in one for word in LOG_NOISE)]
            lines += [f"-- {host.name}:"] + tail[-12:]
    return "\n".join(lines) + "\n"


def _work(options, names, results):
    namespaces.die_with_parent()
    signal.signal(signal.SIGALRM, _alarm)
    # The parent passes Ctrl-C on as SIGTERM. Not SIG_IGN: the programs under test would inherit it.
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    signal.signal(signal.SIGTERM, _stop)
    tests, worker = discover(), Worker(options)
    try:
        while True:
            try:
                name = names.get(timeout=0.5)
            except queue.Empty:
                return
            results.put((name, *worker.run(tests[name])))
    finally:
        worker.close()


def _collect(workers, results, wanted):
    """Print each result as it comes; returns the names that passed and those that failed."""
    passed, failed = [], []
    while len(passed) + len(failed) < len(wanted):
        try:
            name, good, seconds, report = results.get(timeout=1)
        except queue.Empty:
            if not any(worker.is_alive() for worker in workers):
                break
            continue
        (passed if good else failed).append(name)
        print(f"{'ok    ' if good else 'FAILED'} {name} ({seconds:.1f} s)", flush=True)
        if not good:
            print("    " + report.replace("\n", "\n    "), flush=True)
    for name in wanted:
        if name not in passed + failed:
            print(f"FAILED {name} (its worker ended)")
            failed.append(name)
    return passed, failed


def run_all(options, wanted):
    names, results = multiprocessing.Queue(), multiprocessing.Queue()
    for name in wanted:
        names.put(name)
    jobs = min(options.jobs, len(wanted))
    workers = [multiprocessing.Process(target=_work, args=(options, names, results))
               for _ in range(jobs)]
    try:
        for worker in workers:
            worker.start()
        outcome = _collect(workers, results, wanted)
    except BaseException:
        for worker in workers:
            worker.terminate()
        raise
    finally:
        for worker in workers:
            worker.join()
    return outcome


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-k", metavar="PATTERN", default="", help="only tests whose name matches")
    parser.add_argument("-j", metavar="N", dest="jobs", type=int, default=3,
                        help="pairs of hosts to use at the same time (default 3)")
    parser.add_argument("--list", action="store_true", help="print the names only")
    parser.add_argument("--keep", action="store_true", help="leave the hosts' files in /tmp")
    parser.add_argument("--mixed", action="store_true",
                        help="also tests between two releases (makes a second root once)")
    parser.add_argument("--vmferry", default=str(HERE.parents[1] / "build/dev/vmferry"))
    return parser.parse_args()


def obstacles(options):
    """Why the tests cannot run here; nothing is ever skipped for such a reason."""
    if os.geteuid() != 0:
        return ["root is needed (namespaces and libvirt daemons)"]
    import lab
    missing = [f"missing program: {name}" for name in lab.missing_programs()]
    if not os.access(options.vmferry, os.X_OK):
        missing.append(f"no vmferry at {options.vmferry}: build it or give --vmferry")
    return missing


def main():
    options = parse()
    options.vmferry = os.path.abspath(options.vmferry)
    signal.signal(signal.SIGTERM, _stop)
    tests = discover()
    wanted = [name for name, function in tests.items() if re.search(options.k, name)
              and (options.mixed or getattr(function, "hosts", "same") != "mixed")]
    if options.list:
        print("\n".join(wanted))
        return 0
    reasons = obstacles(options)
    if reasons or not wanted:
        print("\n".join(reasons or [f"no test matches {options.k!r}"]), file=sys.stderr)
        print("0 passed, 1 failed")
        return 1
    passed, failed = run_all(options, wanted)
    print(f"{len(passed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; the hosts are gone")
