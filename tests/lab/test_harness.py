"""The harness proves itself with stock virsh: good runs pass, known bad runs are flagged."""
import re

from checker import check, verify
from rpc_proxy import CONFIRM, FINISH, PERFORM, cut_for_good


def virsh(lab, guest, source, destination, *options):
    return lab.finish(lab.client("virsh", "-c", source, "migrate", "--live", *options, guest.name,
                                 destination))


def test_virsh_good_run_passes(lab):
    guest = lab.guest()
    result = virsh(lab, guest, lab.source.uri(), lab.destination.uri())
    verify(lab, guest, "D", result.status)


def test_virsh_there_and_back_passes(lab):
    guest = lab.guest()
    guest.trail = [(lab.source, 0), (lab.destination, 0)]
    assert virsh(lab, guest, lab.source.uri(), lab.destination.uri()).status == 0
    verify(lab, guest, "D", 0)
    guest.trail.append((lab.source, len(lab.source.serial_log(guest.log_name))))
    assert virsh(lab, guest, lab.destination.uri(), lab.source.uri()).status == 0
    verify(lab, guest, "S")


def test_virsh_finish_reply_lost_is_flagged(lab):
    guest = lab.guest()
    destination = lab.proxy(lab.destination)
    trigger = destination.at(FINISH, "before-reply")
    result = virsh(lab, guest, lab.source.uri(), destination.uri)
    assert trigger.fired.is_set()
    problems = "\n".join(check(lab, guest, "D", result.status, seconds=2))
    assert "source running, destination running" in problems, problems
    assert "written twice" in problems, problems


def test_virsh_confirm_lost_is_flagged(lab):
    guest = lab.guest()
    source = lab.proxy(lab.source)
    source.at(CONFIRM, "before-call", cut_for_good)
    result = virsh(lab, guest, source.uri, lab.destination.uri())
    problems = "\n".join(check(lab, guest, "D", result.status, seconds=2))
    assert "source paused, destination running" in problems, problems
    assert result.status != 0 or "exit status 0 is not true" in problems, problems


def test_virsh_perform_reply_lost_is_flagged(lab):
    guest = lab.guest()
    source = lab.proxy(lab.source)
    source.at(PERFORM, "before-reply", cut_for_good)
    virsh(lab, guest, source.uri, lab.destination.uri())
    problems = "\n".join(check(lab, guest, "SD", seconds=3))
    assert re.search("expected the guest at SD, found: W", problems), problems
