"""Failures that admins know well: each has its name, its remedy, and the daemon's own words."""
import json

from checker import verify


def refused(lab, guest, error, words, *options):
    """The migration fails as `error`, tells `words` of the daemon and a remedy; the guest stays."""
    result = lab.migrate(guest, "--live", "--output", "json", *options)
    assert result.status in (1, 3), result
    told = json.loads(result.out)["error"]
    assert told["id"] == error, told
    assert words in json.dumps(told), told
    assert len(told["remedy"]) > 20, told
    verify(lab, guest, "S", result.status)
    return told


def test_error_image_missing_at_the_destination(lab):
    path = lab.disk_file("only-here.img", shared=False)
    lab.destination.image("only-here.img").unlink(missing_ok=True)
    refused(lab, lab.guest(disks=[(path, False)]), "disk.missing", "only-here.img", "--unsafe")


def test_error_data_goes_where_nobody_listens(lab):
    refused(lab, lab.guest(), "network.data", "10.99.0.1",
            "--migrateuri", "tcp://10.99.0.1:49300")


def test_error_name_of_the_destination_does_not_resolve(lab):
    refused(lab, lab.guest(), "destination.name", "nowhere.invalid",
            "--migrateuri", "tcp://nowhere.invalid:49300")


def test_error_tls_without_certificates(lab):
    refused(lab, lab.guest(), "tls.setup", "TLS", "--tls")


def test_error_bridge_missing_at_the_destination(lab):
    lab.source.space.run("ip", "link", "add", "br-here", "type", "bridge")
    try:
        guest = lab.guest(interface="<interface type='bridge'><source bridge='br-here'/>"
                                    "<model type='virtio'/></interface>")
        refused(lab, guest, "net.missing", "br-here")
    finally:
        lab.source.space.run("ip", "link", "del", "br-here")
