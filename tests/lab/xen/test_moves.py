"""Every way of moving a guest."""
from run import on
from xen_guests import guests_of


def done(result):
    assert result.status == 0, result
    return result


@on("4.17", "4.20", "mixed")
def test_live_with_disk_and_network(pair):
    guest = pair.awake(guests_of(pair.kind)[0])
    done(pair.migrate(guest, "--live"))
    pair.one_copy(guest, pair.destination)
