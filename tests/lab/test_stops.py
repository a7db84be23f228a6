"""Migrations that are stopped or refused: the guest goes on where it was."""
import json
import signal

from checker import look, verify
from lab import slow

MIB = 1024 * 1024


def stopped_by(lab, number, *options):
    guest = lab.guest(fill=32)
    client = lab.start_migrate(guest, "--live", *slow(), *options)
    lab.wait_job(guest, MIB)
    client.signal(number)
    result = lab.finish(client, seconds=15)
    assert result.status == 5, result
    verify(lab, guest, "S", result.status)
    return result


def test_sigint_aborts(lab):
    stopped_by(lab, signal.SIGINT)


def test_sigterm_aborts(lab):
    stopped_by(lab, signal.SIGTERM)


def test_sigint_aborts_peer_to_peer(lab):
    guest = lab.guest(fill=32)
    client = lab.start_migrate(guest, "--live", "--p2p", *slow(),
                               destination=lab.destination.uri("tcp"))
    lab.wait_job(guest, MIB)
    client.signal(signal.SIGINT)
    result = lab.finish(client, seconds=15)
    assert result.status == 5, result
    verify(lab, guest, "S", result.status)


def test_timeout_abort(lab):
    guest = lab.guest(fill=32)
    result = lab.migrate(guest, "--live", *slow(), "--timeout", "1", "--timeout-abort")
    assert result.status == 5, result
    verify(lab, guest, "S", result.status)


def test_job_abort_by_another_client(lab):
    guest = lab.guest(fill=32)
    client = lab.start_migrate(guest, "--live", *slow())
    lab.wait_job(guest, MIB)
    aborted = lab.ferry("-c", lab.source.uri(), "domjobabort", guest.name)
    assert aborted.status == 0, aborted
    result = lab.finish(client, seconds=15)
    assert result.status in (1, 5), result
    verify(lab, guest, "S", result.status)


def test_destination_has_the_guest_under_another_name(lab):
    guest = lab.guest()
    lab.destination.connection.defineXML(guest.xml(name="other"))
    result = lab.migrate(guest, "--live")
    assert result.status in (1, 3), result
    verify(lab, guest, "S", result.status)


def test_no_such_domain(lab):
    result = lab.ferry("-c", lab.source.uri(), "migrate", "--live", "nobody",
                       lab.destination.uri())
    assert result.status == 8, result


def test_destination_unreachable(lab):
    guest = lab.guest()
    result = lab.migrate(guest, "--live", destination="qemu+unix:///system?socket=/nowhere/sock")
    assert result.status == 4, result
    verify(lab, guest, "S", result.status)


def test_stopped_guest_needs_offline(lab):
    guest = lab.guest(start=False)
    result = lab.migrate(guest, "--live")
    assert result.status in (1, 2, 3), result
    assert look(lab.source, guest).state == "shutoff"
    assert look(lab.destination, guest).state == "absent"


def test_impossible_options_contact_nothing(lab):
    guest = lab.guest()
    source = lab.proxy(lab.source)
    result = lab.migrate(guest, "--live", "--offline", source=source)
    assert result.status == 2, result
    assert "--live" in result.err and "--offline" in result.err, result
    assert not source.passed, "a host was contacted"


def test_dry_run_changes_nothing(lab):
    guest = lab.guest()
    source, destination = lab.proxy(lab.source), lab.proxy(lab.destination)
    result = lab.migrate(guest, "--live", "--dry-run", source=source, destination=destination)
    assert result.status == 0, result
    asked = {p.procedure for p in source.passed + destination.passed}
    assert not asked & set(range(302, 308)), f"phases were called: {sorted(asked)}"
    verify(lab, guest, "S", leftovers=True)


def test_json_tells_what_happened(lab):
    guest = lab.guest()
    result = lab.migrate(guest, "--live", "--output", "json")
    assert result.status == 0, result
    json.loads(result.out)
    verify(lab, guest, "D", 0)


def test_events_are_one_object_a_line(lab):
    guest = lab.guest(fill=8)
    result = lab.migrate(guest, "--live", "--events", "--bandwidth", "8")
    assert result.status == 0, result
    events = [json.loads(line) for line in result.out.splitlines()]
    assert len(events) > 2, result
    verify(lab, guest, "D", 0)
