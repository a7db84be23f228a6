"""Every way of moving a guest."""
import json

import libvirt

from run import on
from xen_guests import PVH, guests_of


def done(result):
    assert result.status == 0, result
    return result


def first(pair):
    return pair.awake(guests_of(pair.kind)[0])


@on("4.17", by_hand=["4.20", "mixed"])
def test_live_with_disk_and_network(pair):
    guest = first(pair)
    done(pair.migrate(guest, pair.live))
    pair.one_copy(guest, pair.destination)
    answer = pair.destination.run("busybox ping -c 3 10.9.0.100")
    assert " 0% packet loss" in answer, answer


@on(by_hand=["4.20"])
def test_pvh_live(pair):
    guest = pair.awake(PVH)
    done(pair.migrate(guest, "--live", seconds=240))
    pair.one_copy(guest, pair.destination)


@on("4.17")
def test_there_over_ssh_with_another_name_and_back(pair):
    guest = first(pair)
    there = pair.destination
    done(pair.ferry("-c", pair.source.uri("ssh"), "migrate", pair.live, "--dname", "moved",
                    guest.name, there.uri("ssh"), seconds=240))
    assert pair.state(there, guest.name) is None
    pair.one_copy(guest, there, name="moved")
    done(pair.ferry("-c", there.uri("ssh"), "migrate", "--dname", guest.name, "moved",
                    pair.source.uri("ssh"), seconds=240))
    pair.one_copy(guest, pair.source, name="moved")


@on(by_hand=["4.17"])
def test_kept_there_and_removed_here(pair):
    guest = first(pair)
    pair.connect(pair.source).defineXML(guest.xml())
    result = done(pair.migrate(guest, pair.live, "--persistent", "--undefinesource", "--suspend"))
    assert "paused" in result.out, result
    there = pair.connect(pair.destination).lookupByName(guest.name)
    assert there.isPersistent()
    assert there.state()[0] == libvirt.VIR_DOMAIN_PAUSED, there.state()
    assert pair.state(pair.source, guest.name) is None
    assert pair.runnable(guest) == []
    there.resume()
    pair.one_copy(guest, pair.destination)


@on(by_hand=["4.17"])
def test_defined_guest_moves_whole_by_default(pair):
    guest = first(pair)
    pair.connect(pair.source).defineXML(guest.xml())
    done(pair.migrate(guest))
    assert pair.connect(pair.destination).lookupByName(guest.name).isPersistent()
    assert pair.state(pair.source, guest.name) is None
    pair.one_copy(guest, pair.destination)


@on("4.17", by_hand=["4.20"])
def test_driven_by_the_source(pair):
    guest = first(pair)
    done(pair.migrate(guest, pair.live, "--p2p"))
    pair.one_copy(guest, pair.destination)


@on("4.17", by_hand=["4.20"])
def test_tunnelled(pair):
    guest = first(pair)
    done(pair.migrate(guest, pair.live, "--p2p", "--tunnelled"))
    pair.one_copy(guest, pair.destination)


@on(by_hand=["4.17"])
def test_not_live_to_an_address(pair):
    guest = first(pair)
    done(pair.migrate(guest, "--no-live", "--migrateuri", pair.destination.inner))
    pair.one_copy(guest, pair.destination)


@on(by_hand=["4.17"])
def test_timeout_is_told_and_the_copy_goes_on(pair):
    guest = first(pair)
    client = pair.start_migrate(guest, pair.live, "--timeout", "2")
    pair.wait_incoming(guest)
    pair.source.link(False)
    pair.wait_counting(guest, more=3)
    pair.source.link(True)
    result = done(pair.finish(client, 240))
    assert "--timeout only says that the time has passed" in result.err, result
    assert "the timeout of 2 s has passed, but this driver can neither abort" in result.err, result
    pair.one_copy(guest, pair.destination)


@on("4.17")
def test_progress_without_statistics(pair):
    guest = first(pair)
    result = done(pair.migrate(guest, pair.live, "--events"))
    events = [json.loads(line) for line in result.out.splitlines()]
    seen = [event["elapsed_ms"] for event in events if event["event"] == "progress"]
    assert seen and seen[-1] > 0 and seen == sorted(seen), result
    phases = [event["phase"] for event in events if event["event"] == "phase"]
    assert phases[:4] == ["begin", "prepare", "perform", "finish"], phases
    pair.one_copy(guest, pair.destination)
