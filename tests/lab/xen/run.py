#!/usr/bin/python3
"""Tests of vmferry between real Xen hosts under emulation. Needs root; see README.md.

What the hosts boot is made once and kept, with the state of booted hosts, in
$XDG_CACHE_HOME/vmferry-lab (/var/cache/vmferry-lab without it).
"""
import argparse
import importlib
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from namespaces import die_with_parent  # noqa: E402

TEST_SECONDS = 400
PROGRAMS = ["debootstrap", "qemu-system-x86_64", "qemu-img", "mke2fs", "ssh-keygen", "ssh",
            "unshare", "ip", "virsh"]


def on(*kinds, by_hand=()):
    """Decorator: run the test on each of these pairs of hosts (see xen_guests.PAIRS).

    On the pairs in by_hand only when --all asks for it, for time: they pass there, too.
    """
    def mark(function):
        function.kinds, function.by_hand = kinds + tuple(by_hand), by_hand
        return function
    return mark


def discover():
    """{"name[kind]": (function, kind)}, one kind of hosts after the other."""
    found = {}
    for path in sorted(HERE.glob("test_*.py")):
        module = importlib.import_module(path.stem)
        for name, value in vars(module).items():
            if name.startswith("test_") and hasattr(value, "kinds"):
                for kind in value.kinds:
                    found[f"{name}[{kind}]"] = (value, kind)
    order = ["4.17", "4.20", "mixed"]
    return dict(sorted(found.items(), key=lambda item: order.index(item[1][1])))


def _alarm(_number, _frame):
    raise TimeoutError(f"longer than {TEST_SECONDS} s")


def evidence(pair):
    """What was printed, and what both hosts say, for the report of a failed test."""
    lines = [str(result) for result in pair.results]
    for host in pair.hosts:
        if not host.process or host.process.poll() is not None:
            lines.append(f"{host.name} is off")
            continue
        try:
            lines.append(host.run(f"echo -- {host.name}; xl list; timeout 10 virsh list --all; "
                                  "grep -a ' error ' /var/log/libvirtd.log | tail -n 8; "
                                  "tail -n 2 /var/log/xen/guest-*.log", check=False))
        except (OSError, RuntimeError) as error:
            lines.append(f"{host.name}: {error}")
    return "\n".join(lines) + "\n"


class Runner:
    """Runs tests one after the other, one pair of hosts at a time."""

    def __init__(self, options):
        self.options, self.pair = options, None

    def _pair(self, kind):
        from xen_pair import Pair
        if self.pair is None or self.pair.kind != kind:
            self.close()
            self.pair = Pair(self.options.vmferry, kind, self.options.inside)
            self.pair.prepare()
        return self.pair

    def run(self, function, kind):
        """(passed, report)"""
        report = ""
        try:
            pair = self._pair(kind)
            signal.alarm(TEST_SECONDS)
            try:
                pair.begin()
                function(pair)
                pair.usable = True
                report = "\n".join(str(result) for result in pair.results)
            except Exception:
                report = evidence(pair)
                raise
            return True, report
        except Exception:
            return False, report + traceback.format_exc()
        finally:
            signal.alarm(0)

    def close(self):
        if self.pair:
            self.pair.close()
        self.pair = None


def make_images(tests):
    """What the hosts boot; needs the package mirror the first time. The first release's before
    anything is tested, the others' in a thread beside the tests, which is returned."""
    from xen_image import Image
    from xen_guests import PAIRS
    versions = [v for _, kind in tests.values() for v in PAIRS[kind]]
    first, *others = dict.fromkeys(versions)
    Image(first).make()
    thread = threading.Thread(target=lambda: [Image(version).make() for version in others])
    thread.start()
    return thread


def _stop(_number, _frame):
    raise SystemExit(1)


def run_inside(argv, keep):
    """Run this program again in namespaces of its own, in which the hosts have their names."""
    lab = tempfile.mkdtemp(prefix="vmxen-", dir="/tmp")
    signal.signal(signal.SIGTERM, _stop)  # what is inside is killed on the way out
    try:
        names = "".join(f"127.0.{n}.1 h{n}\n" for n in (1, 2))
        Path(f"{lab}/hosts").write_text("127.0.0.1 localhost\n" + names)
        script = f'mount --bind {lab}/hosts /etc/hosts && ip link set lo up && exec "$@"'
        return subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child",
                               "--mount-proc", "sh", "-c", script, "sh", sys.executable, __file__,
                               "--inside", lab, *argv], check=False,
                              preexec_fn=die_with_parent).returncode
    finally:
        if not keep:
            shutil.rmtree(lab, ignore_errors=True)


def run_all(options, tests):
    passed, failed, runner = 0, 0, Runner(options)
    try:
        for name, (function, kind) in tests.items():
            begin = time.monotonic()
            good, report = runner.run(function, kind)
            passed, failed = passed + good, failed + (not good)
            print(f"{'ok    ' if good else 'FAILED'} {name} ({time.monotonic() - begin:.1f} s)",
                  flush=True)
            if options.verbose or not good:
                print("    " + report.replace("\n", "\n    "), flush=True)
    finally:
        runner.close()
    return passed, failed


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-k", metavar="PATTERN", default="", help="only tests whose name matches")
    parser.add_argument("--all", action="store_true",
                        help="also what is left out for time")
    parser.add_argument("-v", "--verbose", action="store_true",
                        help="what was printed in tests that pass, too")
    parser.add_argument("--list", action="store_true", help="print the names only")
    parser.add_argument("--keep", action="store_true", help="leave the hosts' files in /tmp")
    parser.add_argument("--vmferry", default=str(HERE.parents[2] / "build/dev/vmferry"))
    parser.add_argument("--inside", metavar="DIRECTORY", help=argparse.SUPPRESS)
    return parser.parse_args()


def obstacles(options, tests):
    """Why the tests cannot run here; nothing is ever skipped for such a reason."""
    if not tests:
        return [f"no test matches {options.k!r}"]
    if os.geteuid() != 0:
        return ["root is needed (namespaces, the hosts' root directory)"]
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    found = [f"missing program: {p}" for p in PROGRAMS if not shutil.which(p, path=path)]
    if not os.access(options.vmferry, os.X_OK):
        found.append(f"no vmferry at {options.vmferry}: build it or give --vmferry")
    return found


def main():
    options = parse()
    options.vmferry = os.path.abspath(options.vmferry)
    matching = {name: test for name, test in discover().items() if re.search(options.k, name)}
    tests = {name: (function, kind) for name, (function, kind) in matching.items()
             if options.all or kind not in function.by_hand}
    if options.list:
        print("\n".join(tests))
        return 0
    reasons = obstacles(options, tests)
    if reasons:
        print("\n".join(reasons), file=sys.stderr)
        print("0 passed, 1 failed")
        return 1
    begin = time.monotonic()
    if not options.inside:
        later = make_images(tests)
        if len(tests) < len(matching):
            print(f"left out, for --all: {len(matching) - len(tests)} tests")
        print(f"first image ready ({time.monotonic() - begin:.1f} s)", flush=True)
        try:
            return run_inside(sys.argv[1:], options.keep)
        finally:
            later.join()
    signal.signal(signal.SIGALRM, _alarm)
    passed, failed = run_all(options, tests)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(f"{time.monotonic() - begin:.0f} s, "
          f"{sum(u.ru_utime + u.ru_stime for u in used):.0f} s of CPU")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
