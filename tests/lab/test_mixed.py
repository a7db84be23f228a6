"""Between two releases: libvirt 9.0 with QEMU 7.2, and what backports has. Needs --mixed."""
from checker import verify


def mixed(test):
    test.hosts = "mixed"
    return test


def virsh_version(lab, host):
    return host.connection.getLibVersion()


@mixed
def test_mixed_hosts_are_of_two_releases(lab):
    assert virsh_version(lab, lab.source) < virsh_version(lab, lab.destination)


@mixed
def test_mixed_there_and_back(lab):
    guest = lab.guest()
    guest.trail = [(lab.source, 0), (lab.destination, 0)]
    result = lab.migrate(guest, "--live")
    assert result.status == 0, result
    verify(lab, guest, "D", 0)
    guest.trail.append((lab.source, len(lab.source.serial_log(guest.log_name))))
    result = lab.migrate(guest, "--live", source=lab.destination, destination=lab.source)
    assert result.status == 0, result
    verify(lab, guest, "S")


@mixed
def test_mixed_offline(lab):
    guest = lab.guest(start=False)
    result = lab.migrate(guest, "--offline", "--persistent", "--undefinesource")
    assert result.status == 0, result


@mixed
def test_mixed_peer_to_peer(lab):
    guest = lab.guest()
    result = lab.migrate(guest, "--live", "--p2p", destination=lab.destination.uri("tcp"))
    assert result.status == 0, result
    verify(lab, guest, "D", 0)
