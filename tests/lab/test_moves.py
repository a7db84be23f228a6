"""Migrations that are to succeed: every transport, kind and main option."""
import filecmp

from checker import look, verify
from lab import slow

MIB = 1024 * 1024


def moved(lab, guest, *options, place="D", **ends):
    """Migrate; the guest must be at `place`, the client must say so."""
    result = lab.migrate(guest, *options, **ends)
    assert result.status == 0, result
    verify(lab, guest, place, result.status)
    return result


def test_live_over_unix(lab):
    moved(lab, lab.guest(), "--live")


def test_live_over_tcp(lab):
    guest = lab.guest()
    moved(lab, guest, "--live", source=lab.source.uri("tcp"),
          destination=lab.destination.uri("tcp"))


def test_live_over_ssh(lab):
    guest = lab.guest()
    moved(lab, guest, "--live", source=lab.source.uri("ssh"),
          destination=lab.destination.uri("ssh"))


def test_list_over_ssh_ends_well(lab):
    guest = lab.guest(ticks=0)
    for _ in range(5):
        result = lab.ferry("-c", lab.source.uri("ssh"), "list")
        assert result.status == 0 and guest.name in result.out and not result.err, result


def test_live_by_proxies_without_delay(lab):
    moved(lab, lab.guest(), "--live", source=lab.proxy(lab.source),
          destination=lab.proxy(lab.destination))


def test_not_live(lab):
    moved(lab, lab.guest())


def test_there_and_back(lab):
    guest = lab.guest()
    guest.trail = [(lab.source, 0), (lab.destination, 0)]
    moved(lab, guest, "--live")
    guest.trail.append((lab.source, len(lab.source.serial_log(guest.log_name))))
    result = lab.migrate(guest, "--live", source=lab.destination, destination=lab.source)
    assert result.status == 0, result
    verify(lab, guest, "S")


def test_peer_to_peer(lab):
    moved(lab, lab.guest(), "--live", "--p2p", destination=lab.destination.uri("tcp"))


def test_tunnelled(lab):
    moved(lab, lab.guest(), "--live", "--p2p", "--tunnelled",
          destination=lab.destination.uri("tcp"))


def test_offline(lab):
    guest = lab.guest(start=False)
    result = lab.migrate(guest, "--offline", "--persistent", "--no-undefinesource")
    assert result.status == 0, result
    assert look(lab.source, guest).persistent and look(lab.destination, guest).persistent
    assert look(lab.destination, guest).state == "shutoff"


def test_offline_undefinesource(lab):
    guest = lab.guest(start=False)
    result = lab.migrate(guest, "--offline", "--persistent", "--undefinesource")
    assert result.status == 0, result
    assert look(lab.source, guest).state == "absent"
    assert look(lab.destination, guest).persistent


def test_suspend_leaves_it_paused(lab):
    moved(lab, lab.guest(), "--live", "--suspend", place=["D-paused"])


def test_a_paused_guest_stays_paused(lab):
    guest = lab.guest()
    lab.source.connection.lookupByName(guest.name).suspend()
    moved(lab, guest, "--live", place=["D-paused"])


def test_dname(lab):
    guest = lab.guest()
    moved(lab, guest, "--live", "--dname", guest.name + "-new")
    there = lab.destination.connection.lookupByUUIDString(guest.uuid)
    assert there.name() == guest.name + "-new"


def test_persistent(lab):
    guest = lab.guest(persistent=True)
    moved(lab, guest, "--live", "--persistent", "--no-undefinesource")
    assert look(lab.destination, guest).persistent
    assert look(lab.source, guest).persistent, "it was to stay defined"


def test_nothing_said_moves_all_of_it(lab):
    guest = lab.guest(persistent=True)
    moved(lab, guest)
    assert look(lab.destination, guest).persistent
    assert look(lab.source, guest).state == "absent"


def test_persistent_undefinesource(lab):
    guest = lab.guest(persistent=True)
    moved(lab, guest, "--live", "--persistent", "--undefinesource")
    assert look(lab.destination, guest).persistent
    assert look(lab.source, guest).state == "absent"


def test_xml_of_the_user_is_used(lab):
    guest = lab.guest()
    domain = lab.source.connection.lookupByName(guest.name)
    xml = domain.XMLDesc(8).replace(f"<uuid>{guest.uuid}</uuid>",
                                    f"<uuid>{guest.uuid}</uuid>\n<title>moved</title>")
    path = lab.write(f"{guest.name}.xml", xml)
    moved(lab, guest, "--live", "--xml", path)
    there = lab.destination.connection.lookupByUUIDString(guest.uuid)
    assert "<title>moved</title>" in there.XMLDesc()


def test_migration_uri_of_the_user(lab):
    guest = lab.guest()
    moved(lab, guest, "--live", "--migrateuri", "tcp://10.99.0.2:49300")


def test_compressed(lab):
    moved(lab, lab.guest(fill=8), "--live", "--compressed")


def test_auto_converge(lab):
    moved(lab, lab.guest(fill=8, dirty=20), "--live", "--auto-converge")


def test_parallel(lab):
    moved(lab, lab.guest(fill=16), "--live", "--parallel", "--parallel-connections", "2")


def test_verbose_names_the_end(lab):
    guest = lab.guest(fill=8)
    result = moved(lab, guest, "--live", "--verbose", "--bandwidth", "8")
    assert "\r" not in result.out and "\x1b" not in result.out + result.err, result


def test_postcopy_after_precopy(lab):
    guest = lab.guest(fill=16, dirty=200)
    moved(lab, guest, "--live", "--postcopy", "--postcopy-after-precopy", "--bandwidth", "16")


def test_postcopy_by_timeout(lab):
    guest = lab.guest(fill=24, dirty=200)
    moved(lab, guest, "--live", "--postcopy", "--timeout", "1", "--timeout-postcopy",
          "--bandwidth", "4")


def test_postcopy_by_command(lab):
    guest = lab.guest(fill=32, dirty=100)
    client = lab.start_migrate(guest, "--live", "--postcopy", *slow())
    lab.wait_job(guest, MIB)
    switched = lab.ferry("-c", lab.source.uri(), "migrate-postcopy", guest.name)
    assert switched.status == 0, switched
    result = lab.finish(client)
    assert result.status == 0, result
    verify(lab, guest, "D", 0)


def test_timeout_suspend_lets_a_busy_guest_finish(lab):
    guest = lab.guest(fill=16, dirty=400)
    moved(lab, guest, "--live", "--timeout", "1", "--timeout-suspend", "--bandwidth", "8")


def test_shared_disk_needs_unsafe(lab):
    guest = lab.guest(disks=[(lab.disk_file("shared.img"), False)])
    result = lab.migrate(guest, "--live")
    assert result.status in (1, 3), result
    verify(lab, guest, "S", result.status)
    moved(lab, guest, "--live", "--unsafe")


def test_shared_read_only_disk(lab):
    moved(lab, lab.guest(disks=[(lab.disk_file("read-only.img"), True)]), "--live")


def test_copy_storage_all(lab):
    path = lab.disk_file("local.img", mib=8, shared=False)
    lab.destination.image("local.img").write_bytes(bytes(8 * MIB))
    guest = lab.guest(disks=[(path, False)])
    moved(lab, guest, "--live", "--copy-storage-all")
    assert filecmp.cmp(lab.source.image("local.img"), lab.destination.image("local.img"), False)


def test_copy_storage_of_named_disks(lab):
    disks = [lab.disk_file(name, shared=False) for name in ("a.img", "b.img")]
    for name in ("a.img", "b.img"):
        lab.destination.image(name).write_bytes(bytes(4 * MIB))
    guest = lab.guest(disks=[(path, False) for path in disks])
    moved(lab, guest, "--live", "--copy-storage-all", "--migrate-disks", "vdb", "--unsafe")
    assert not any(lab.destination.image("a.img").read_bytes()), "vda was not to be copied"
    assert filecmp.cmp(lab.source.image("b.img"), lab.destination.image("b.img"), False)
