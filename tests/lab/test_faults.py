"""Each failure row of the phases, provoked at an exact call; both hosts are judged afterwards.

A row allows certain ends, each a place of the guest with the exit status that must go with it.
Only where the protocol cannot tell may there be more than one.
"""
import signal
import time

from checker import check, look, where, verify
from lab import slow
from rpc_proxy import PHASES, cut, cut_for_good

MIB = 1024 * 1024

STAYS = {("S", 1)}
MOVED = {("D", 0)}
EITHER = {("S", 1), ("D", 0)}
# The request or its answer was lost and the destination knows nothing of the guest: a daemon
# keeps no record that tells "never ran" from "ran and ended".
UNDECIDED_OR_STAYS = {("W", 7), ("S", 1)}

# side whose connection is cut, phase, moment, allowed ends
CUTS = [
    ("source", "begin", "before-call", STAYS), ("source", "begin", "before-reply", STAYS),
    ("destination", "prepare", "before-call", STAYS),
    ("destination", "prepare", "before-reply", STAYS),
    ("source", "perform", "before-call", STAYS), ("source", "perform", "after-call", EITHER),
    ("source", "perform", "before-reply", EITHER), ("source", "perform", "after-reply", MOVED),
    ("destination", "perform", "before-reply", UNDECIDED_OR_STAYS),
    ("destination", "finish", "before-call", UNDECIDED_OR_STAYS),
    ("destination", "finish", "after-call", UNDECIDED_OR_STAYS | MOVED),
    ("destination", "finish", "before-reply", MOVED),
    ("destination", "finish", "after-reply", MOVED),
    ("source", "confirm", "before-call", MOVED), ("source", "confirm", "before-reply", MOVED),
]


class Proxied:
    """A guest, and a migration of it through two proxies."""

    def __init__(self, lab, fill=0, options=()):
        self.lab, self.guest = lab, lab.guest(fill=fill)
        self.options = options
        self.ends = {"source": lab.proxy(lab.source), "destination": lab.proxy(lab.destination)}

    def at(self, side, phase, when, action=cut):
        self.trigger = self.ends[side].at(PHASES[phase], when, action)
        return self.trigger

    def start(self):
        return self.lab.start_migrate(self.guest, "--live", *self.options,
                                      source=self.ends["source"],
                                      destination=self.ends["destination"])

    def end(self, client, allowed, seconds=60):
        result = self.lab.finish(client, seconds)
        assert self.trigger.fired.wait(10), f"the fault never struck\n{result}"
        problems = judge(self.lab, self.guest, allowed, result)
        assert not problems, "\n".join(problems + [str(result)])
        return result


def judge(lab, guest, allowed, result):
    places = [place for place, _ in allowed]
    problems = check(lab, guest, places, result.status)
    found = where(lab, guest)
    if found in places and (found, result.status) not in allowed:
        problems.append(f"at {found} with exit {result.status}: allowed are {sorted(allowed)}")
    if result.status == 7 and guest.name not in result.err + result.out:
        problems.append("undecided, and the guest is not named")
    return problems


def _cut_test(side, phase, when, allowed):
    def test(lab):
        run = Proxied(lab)
        if side == "destination" and phase == "perform":  # struck by the source's traffic
            run.trigger = run.ends["source"].at(
                PHASES[phase], when, lambda _proxy: run.ends["destination"].cut())
        else:
            run.at(side, phase, when)
        run.end(run.start(), allowed)
    return test


for _row in CUTS:
    globals()[f"test_cut_{_row[0]}_{_row[2].replace('-', '_')}_of_{_row[1]}"] = _cut_test(*_row)


def test_cut_source_in_the_middle_of_perform(lab):
    run = Proxied(lab, fill=16, options=["--bandwidth", "4"])
    run.at("source", "perform", "after-call",
           lambda proxy: (lab.wait_job(run.guest, MIB), proxy.cut()))
    run.end(run.start(), EITHER)


def test_cut_destination_in_the_middle_of_perform(lab):
    run = Proxied(lab, fill=16, options=["--bandwidth", "4"])
    run.trigger = run.ends["source"].at(
        PHASES["perform"], "after-call",
        lambda _proxy: (lab.wait_job(run.guest, MIB), run.ends["destination"].cut()))
    run.end(run.start(), STAYS)


def test_destination_gone_with_the_reply_of_finish(lab):
    """Nobody can be asked: the source must stay paused, and the client must not claim anything."""
    run = Proxied(lab)

    def strike(proxy):
        lab.wait_ticks(lab.destination, run.guest, 3)
        cut_for_good(proxy)
    run.at("destination", "finish", "before-call", lambda proxy: proxy.mute(True))
    run.trigger = run.at("destination", "finish", "after-call", strike)
    result = lab.finish(run.start(), 90)
    assert result.status == 7, result
    assert run.guest.name in result.err and "undecided" in result.err, result
    problems = check(lab, run.guest, ["source paused, destination running"], leftovers=False)
    assert not problems, problems


def test_destination_gone_after_it_was_seen_to_run(lab):
    """The reply of Finish is lost for good, but events told before that the guest runs there: it is
    ended on the source, and that nobody can look at the destination is not called done."""
    run = Proxied(lab)
    run.at("destination", "finish", "before-reply", cut_for_good)
    result = lab.finish(run.start(), 90)
    paused = "source paused, destination running"
    problems = check(lab, run.guest, {6: "D", 7: [paused]}[result.status], leftovers=False)
    assert not problems, "\n".join(problems + [str(result)])


def test_source_gone_at_confirm(lab):
    run = Proxied(lab)
    run.at("source", "confirm", "before-call", cut_for_good)
    result = lab.finish(run.start(), 90)
    assert result.status == 6, result
    assert look(lab.source, run.guest).state == "paused", result
    problems = check(lab, run.guest, ["source paused, destination running"], leftovers=False)
    assert not problems, problems


def test_source_gone_with_the_reply_of_perform(lab):
    """The copy is complete, the source cannot be asked: never two, and the client says so."""
    run = Proxied(lab)
    run.at("source", "perform", "before-reply", cut_for_good)
    result = lab.finish(run.start(), 90)
    problems = check(lab, run.guest, {6: ["source paused, destination running"],
                                      7: "W"}[result.status], leftovers=False)
    assert not problems, "\n".join(problems + [str(result)])


def _kill_test(victim, side, phase, when, allowed, in_copy=False):
    """victim(lab, guest, proxy) is called at that moment."""
    def test(lab):
        options = {"fill": 16, "options": ["--bandwidth", "4"]} if in_copy else {}
        run = Proxied(lab, **options)

        def strike(proxy):
            if in_copy:
                lab.wait_job(run.guest, MIB)
            victim(lab, run.guest, proxy)
        run.at(side, phase, when, strike)
        run.end(run.start(), allowed)
    return test


def source_daemon(lab, _guest, proxy):
    lab.source.kill_libvirtd()
    proxy.cut()  # so that the frame in the proxy's hands is lost with its daemon


def destination_daemon(lab, _guest, proxy):
    lab.destination.kill_libvirtd()
    if proxy.target == lab.destination.socket_path:
        proxy.cut()


def source_qemu(lab, guest, _proxy):
    assert lab.source.signal_qemu(signal.SIGKILL, guest.name)


def source_qemu_and_daemon(lab, guest, proxy):
    """libvirt 9.0's daemon crashes by itself, now and then, when QEMU dies in Perform."""
    source_qemu(lab, guest, proxy)
    source_daemon(lab, guest, proxy)


def destination_qemu(lab, guest, _proxy):
    assert lab.destination.signal_qemu(signal.SIGKILL, guest.name)


test_source_daemon_killed_in_perform = _kill_test(
    source_daemon, "source", "perform", "after-call", STAYS, in_copy=True)
test_destination_daemon_killed_in_perform = _kill_test(
    destination_daemon, "source", "perform", "after-call", STAYS, in_copy=True)
test_source_qemu_killed_in_perform = _kill_test(
    source_qemu, "source", "perform", "after-call", {("L", 1)}, in_copy=True)
test_source_qemu_and_daemon_killed_in_perform = _kill_test(
    source_qemu_and_daemon, "source", "perform", "after-call", {("L", 1)}, in_copy=True)
test_destination_qemu_killed_in_perform = _kill_test(
    destination_qemu, "source", "perform", "after-call", STAYS, in_copy=True)
test_destination_qemu_killed_before_finish = _kill_test(
    destination_qemu, "destination", "finish", "before-call", STAYS)
test_source_qemu_killed_before_finish = _kill_test(
    source_qemu, "destination", "finish", "before-call", MOVED)
test_destination_daemon_killed_at_prepare = _kill_test(
    destination_daemon, "destination", "prepare", "before-call", STAYS)
test_destination_daemon_killed_at_finish = _kill_test(
    destination_daemon, "destination", "finish", "before-call", UNDECIDED_OR_STAYS)
test_destination_daemon_killed_after_finish_ran = _kill_test(
    destination_daemon, "destination", "finish", "before-reply", MOVED)
test_destination_daemon_killed_after_finish_replied = _kill_test(
    destination_daemon, "destination", "finish", "after-reply", MOVED)
test_source_daemon_killed_after_perform = _kill_test(
    source_daemon, "source", "perform", "after-reply", MOVED)
test_source_daemon_killed_at_confirm = _kill_test(
    source_daemon, "source", "confirm", "before-call", MOVED)


def test_network_between_hosts_down_for_a_while(lab):
    run = Proxied(lab, fill=16, options=["--bandwidth", "4"])

    def strike(_proxy):
        lab.wait_job(run.guest, MIB)
        lab.destination.link(False)
        time.sleep(4)
        lab.destination.link(True)
    run.at("source", "perform", "after-call", strike)
    run.end(run.start(), EITHER)


def test_destination_qemu_stopped_at_the_switch(lab):
    """A destination that hangs at the switch and wakes up: one copy, whoever it is."""
    run = Proxied(lab)

    def strike(_proxy):
        lab.destination.signal_qemu(signal.SIGSTOP, run.guest.name)
        lab.later(4, lab.destination.signal_qemu_all, signal.SIGCONT)
    run.at("destination", "finish", "before-call", strike)
    run.end(run.start(), MOVED | UNDECIDED_OR_STAYS | {("S", 5)})


def test_client_killed_in_perform(lab):
    run = Proxied(lab, fill=32, options=slow())
    client = run.start()
    lab.wait_job(run.guest, MIB)
    client.signal(signal.SIGKILL)
    client.wait()
    verify(lab, run.guest, "S")


def test_peer_to_peer_destination_daemon_killed(lab):
    guest = lab.guest(fill=16)
    client = lab.start_migrate(guest, "--live", "--p2p", "--bandwidth", "4",
                               destination=lab.destination.uri("tcp"))
    lab.wait_job(guest, MIB)
    lab.destination.kill_libvirtd()
    result = lab.finish(client)
    problems = judge(lab, guest, STAYS, result)
    assert not problems, "\n".join(problems + [str(result)])
