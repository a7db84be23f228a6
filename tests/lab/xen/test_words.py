"""What is said of Xen: our rules against its daemons, its options, its URIs."""
import json

from phases import Daemon, Refused
from run import on
from xen_guests import guests_of
from xen_host import RPC_PORT

# Fields that hold a text; the others hold numbers.
_TEXTS = {"migrate_uri": "tcp://10.9.0.2", "destination_name": "other", "compression": "mt"}
_NUMBERS = ("bandwidth", "port", "level", "threads", "cache", "initial", "increment", "connections")


def first(pair):
    return pair.awake(guests_of(pair.kind)[0])


def value_of(field, guest):
    if field == "destination_xml":
        return guest.xml()
    if field in _TEXTS:
        return _TEXTS[field]
    return 1 if any(word in field for word in _NUMBERS) else "text"


def ask(pair, guest, flags, params=()):
    """None, or what the source's daemon answers to Begin: (code, message)."""
    daemon = Daemon((pair.source.address, RPC_PORT), name="xen:///system")
    try:
        domain = daemon.domain(guest.name)
        try:
            daemon.begin(domain, flags, params)
        except Refused as refusal:
            return refusal.code, str(refusal)
        try:
            daemon.confirm_cancelled(domain, 1)
        except Refused:
            pass  # libvirt 9 wants to wake a guest that runs; its lock is free all the same
        return None
    finally:
        daemon.close()


@on("4.17", by_hand=["4.20"])
def test_every_flag_and_parameter_against_the_daemon(pair):
    guest = first(pair)
    release = pair.source.libvirt_version()
    assert release == {"4.17": "9.0.0", "4.20": "11.3.0"}[pair.kind]
    said = pair.ferry("--output", "json", "rules", "xen", "--release", release)
    options = json.loads(said.out)["options"]
    assert len(options) > 40
    wrong = []
    for option in options:
        running = option["running"]
        flags = option.get("value", 0)
        params = () if flags else ((option["name"], value_of(option["name"], guest)),)
        answer = ask(pair, guest, flags or 1, params)
        predicted = None
        if running["stance"] in ("refused", "unknown"):
            predicted = running["libvirt_code"]
            assert running["reason"], option
        if option["option"] == "--change-protection" and answer:
            # The host's own features say whether it has this one; vmferry asks them beforehand.
            assert pair.migrate(guest, pair.live, "--change-protection").status == 3, pair.results
        elif (answer and answer[0]) != predicted:
            wrong.append(f"{option['option']}: predicted {predicted}, {release} said {answer}")
        elif answer:
            named = "unsupported flags (0x" if flags else f"'{option['name']}' not supported"
            if named not in answer[1]:
                wrong.append(f"{option['option']}: refused for another reason: {answer[1]}")
    assert not wrong, "\n" + "\n".join(wrong)
    pair.one_copy(guest, pair.source)  # whatever libvirt 9 calls it after such Confirms


@on("4.17")
def test_the_option_is_named(pair):
    guest = first(pair)
    result = pair.migrate(guest, pair.live, "--compressed", "--bandwidth", "5")
    assert result.status == 3, result
    for words in ("--compressed: Xen's migration stream knows no compression",
                  "--bandwidth: Xen's toolstack cannot limit its speed"):
        assert words in result.err, result
    result = pair.migrate(guest, pair.live, "--compressed", "--unsafe", "--trust-host")
    assert result.status in (1, 3), result
    assert "unsupported flags (0xa00) in function libxl" in result.err, result
    assert "the host does not take --unsafe, --compressed" in result.err, result
    pair.one_copy(guest, pair.source)


@on("4.17")
def test_uris_are_explained(pair):
    guest = first(pair)
    uri = pair.source.uri()
    for destination, words in (("h2:moved", "the host h2 alone, and the new name with --dname moved"),
                               (uri, "source and destination are the same connection")):
        result = pair.ferry("-c", uri, "migrate", pair.live, guest.name, destination)
        assert result.status in (2, 3), result
        assert words in result.err, result
    result = pair.migrate(guest, pair.live, "--migrateuri", "ssh://h2")
    assert result.status == 3 and "tcp://HOST[:PORT]" in result.err, result
    for form in (pair.source.uri(), pair.source.uri("ssh"), "xen+tcp://h1:16509/",
                 "xen+tcp://h1/", "xen+tcp://127.0.1.1/system"):
        result = pair.ferry("-c", form, "domstate", guest.name)
        assert result.status == 0 and result.out.startswith("running"), result
    pair.one_copy(guest, pair.source)
