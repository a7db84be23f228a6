"""The demonstration of tests/demo.sh: a guest moves live to another host and back."""
import os
import shlex
import signal
import sys
import time

from checker import check
from guest import counter_bytes
from lab import Lab


def last_count(lab, host, guest):
    lines = counter_bytes(host.serial_log(guest.log_name)).splitlines()
    return int(lines[-2], 16) if len(lines) > 1 else 0


def show(lab, *args):
    print(f"\n$ vmferry {shlex.join(args)}", flush=True)
    result = lab.ferry(*args)
    print((result.out + result.err).rstrip(), flush=True)
    if result.status != 0:
        sys.exit(f"vmferry ended with status {result.status}")


def move(lab, guest, origin, target):
    before = last_count(lab, origin, guest)
    print(f"\n== {guest.name} counts on {origin.name}: {before}")
    show(lab, "-c", origin.uri("ssh"), "migrate", "--live", "--persistent", "--undefinesource",
         "--verbose", guest.name, target.uri("ssh"))
    lab.wait_ticks(target, guest, 20)
    print(f"== it goes on counting on {target.name}: {last_count(lab, target, guest)}")
    show(lab, "-c", target.uri("ssh"), "list", "--all")


def run(vmferry):
    print("== two libvirt hosts, each in namespaces of its own", flush=True)
    lab = Lab(vmferry)
    try:
        for host in lab.hosts:
            print(f"   {host.name}: {host.uri('ssh')}")
        guest = lab.guest(fill=16, persistent=True)
        guest.trail = [(lab.source, 0), (lab.destination, 0)]
        time.sleep(0.5)
        move(lab, guest, lab.source, lab.destination)
        guest.trail.append((lab.source, len(lab.source.serial_log(guest.log_name))))
        move(lab, guest, lab.destination, lab.source)
        problems = check(lab, guest, "S", seconds=5)
        print("\n== checked by stock libvirt and the guest's own counter: "
              + ("; ".join(problems) or "one copy, no count lost, none written twice"))
        return 1 if problems else 0
    finally:
        lab.close()
        print("== hosts, guest and files are removed")


def _stop(_number, _frame):
    sys.exit("stopped")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    try:
        sys.exit(run(os.path.abspath(sys.argv[1])))
    except KeyboardInterrupt:
        sys.exit("stopped; hosts, guest and files are removed")
