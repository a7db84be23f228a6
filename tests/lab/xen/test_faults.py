"""Whatever breaks, one copy of the guest can run; or it is said that nobody knows, and what to type."""
import re
import shlex
import signal

from namespaces import wait_for
from rpc_proxy import BEGIN, CONFIRM, FINISH, PERFORM, PREPARE, cut, cut_for_good
from run import on
from xen_guests import guests_of


def first(pair):
    return pair.awake(guests_of(pair.kind)[0])


def free(pair, guest):
    """Nothing holds the guest's lock at the source: it can be suspended and resumed."""
    domain = pair.connect(pair.source).lookupByName(guest.name)
    domain.suspend()
    domain.resume()


def at_home(pair, guest, result, status=1):
    assert result.status == status, result
    pair.one_copy(guest, pair.source)
    free(pair, guest)
    left = [name for name in pair.destination.domains() if name.startswith(guest.name)]
    assert not left, left


def arrived(pair, guest, result, status=0):
    assert result.status == status, result
    pair.one_copy(guest, pair.destination)
    assert pair.state(pair.source, guest.name) is None


def typed(pair, text):
    """Run the vmferry commands that a message advises, in its order."""
    commands = re.findall(r"`(vmferry -c [^`]*)`", text)
    assert commands, text
    return [shlex.split(command)[1:] for command in commands]


def follow(pair, guest, result):
    """Do what the message says, to the letter; then the destination has the one copy."""
    assert "Restart the libvirt daemons of both hosts" in result.err, result
    for host in pair.hosts:
        host.restart_libvirtd()
    look, resume, remove = typed(pair, result.err)
    state = pair.ferry(*look).out.split()[0]
    if state == "paused":
        assert pair.ferry(*resume).status == 0, pair.results[-1]
    else:
        assert state == "running", state
    assert pair.ferry(*remove).status == 0, pair.results[-1]
    pair.one_copy(guest, pair.destination)


# -- stopping -------------------------------------------------------------------------------------

@on("4.17")
def test_ctrl_c_says_that_it_goes_on(pair):
    guest = first(pair)
    client = pair.start_migrate(guest, pair.live)
    pair.wait_incoming(guest)
    pair.source.link(False)  # nothing moves while the client is told
    client.signal(signal.SIGINT)
    pair.wait_counting(guest)
    pair.source.link(True)
    result = pair.finish(client, 240)
    assert "can neither abort a migration" in result.err, result
    assert "the copy goes on, and then the guest runs on the destination" in result.err, result
    arrived(pair, guest, result)


@on("4.17")
def test_an_abort_is_refused_beforehand(pair):
    guest = first(pair)
    result = pair.migrate(guest, pair.live, "--timeout", "5", "--timeout-abort")
    assert "this driver cannot abort a migration; it goes on" in result.err, result
    at_home(pair, guest, result, 3)
    result = pair.ferry("-c", pair.source.uri(), "domjobabort", guest.name)
    assert result.status == 3 and "can neither abort" in result.err, result


# -- the network ----------------------------------------------------------------------------------

@on(by_hand=["4.17"])
def test_link_cut_for_a_while(pair):
    guest = first(pair)
    client = pair.start_migrate(guest, pair.live)
    pair.wait_incoming(guest)
    pair.source.link(False)
    pair.wait_counting(guest, more=5)
    assert client.process.poll() is None
    pair.source.link(True)
    arrived(pair, guest, pair.finish(client, 240))


@on("4.17")
def test_destination_powered_off(pair):
    guest = first(pair)
    pair.source.run("echo 4 > /proc/sys/net/ipv4/tcp_retries2")
    client = pair.start_migrate(guest, pair.live)
    pair.wait_incoming(guest)
    pair.destination.power_off()
    result = pair.finish(client, 240)
    assert result.status == 1, result
    pair.one_copy(guest, pair.source)
    free(pair, guest)


# -- answers that get lost ------------------------------------------------------------------------

def arrives_though_cut(pair, end, procedure, when):
    """The connection to one end is lost at that moment."""
    guest = first(pair)
    proxy = pair.proxy(getattr(pair, end))
    proxy.at(procedure, when)
    arrived(pair, guest, pair.migrate(guest, pair.live, seconds=240, **{end: proxy}))


@on("4.17", by_hand=["4.20"])
def test_perform_answer_lost(pair):
    guest = first(pair)
    proxy = pair.proxy(pair.source)
    proxy.at(PERFORM, "after-call")
    result = pair.migrate(guest, pair.live, source=proxy, seconds=240)
    assert "the copy goes on by itself" in result.err, result
    arrived(pair, guest, result)


@on(by_hand=["4.17"])
def test_perform_answer_lost_with_the_guest_stopped(pair):
    arrives_though_cut(pair, "source", PERFORM, "before-reply")


@on(by_hand=["4.17", "4.20"])
def test_finish_lost_on_its_way(pair):
    arrives_though_cut(pair, "destination", FINISH, "before-call")


@on("4.17")
def test_finish_answer_lost(pair):
    arrives_though_cut(pair, "destination", FINISH, "before-reply")


@on(by_hand=["4.17"])
def test_finish_lost_for_good(pair):
    """The advice is followed to the letter, and there is one copy."""
    guest = first(pair)
    proxy = pair.proxy(pair.destination)
    proxy.at(FINISH, "before-call", cut_for_good)
    result = pair.migrate(guest, pair.live, destination=proxy, seconds=240)
    assert result.status == 7, result
    assert "xl resume" not in result.err, result
    proxy.refuse(False)
    follow(pair, guest, result)


@on("4.17", by_hand=["4.20"])
def test_confirm_lost_on_its_way(pair):
    arrives_though_cut(pair, "source", CONFIRM, "before-call")


@on("4.17")
def test_begin_answer_lost(pair):
    guest = first(pair)
    proxy = pair.proxy(pair.source)
    proxy.at(BEGIN, "before-reply")
    result = pair.migrate(guest, pair.live, source=proxy, seconds=240)
    assert result.status == 1, result
    pair.one_copy(guest, pair.source)


# -- refused by Prepare ---------------------------------------------------------------------------

@on("4.17", by_hand=["4.20"])
def test_prepare_refuses_an_address(pair):
    guest = first(pair)
    result = pair.migrate(guest, pair.live, "--migrateuri", "tcp://192.0.2.1:49152",
                          source=pair.source.uri("ssh"))
    at_home(pair, guest, result)


@on("4.17", by_hand=["4.20"])
def test_prepare_meets_a_taken_name(pair):
    guest = first(pair)
    xml = guest.xml().replace(guest.uuid, guest.uuid[:-1] + "9")
    pair.connect(pair.destination).defineXML(xml)
    result = pair.migrate(guest, pair.live)
    assert "already" in result.err, result
    at_home(pair, guest, result)


@on("4.17", by_hand=["4.20"])
def test_prepare_answer_lost(pair):
    guest = first(pair)
    proxy = pair.proxy(pair.destination)
    proxy.at(PREPARE, "before-reply")
    result = pair.migrate(guest, pair.live, destination=proxy, seconds=240)
    at_home(pair, guest, result)


@on(by_hand=["4.17"])
def test_newer_stream_version_is_refused(pair):
    guest = first(pair)
    proxy = pair.proxy(pair.destination)
    old, new = (b"<migration-stream-version>%d</migration-stream-version>" % n for n in (2, 9))

    def forge(payload):
        assert payload.count(old) == 1, payload
        return payload.replace(old, new)
    proxy.rewrite(PREPARE, "call", forge)
    result = pair.migrate(guest, pair.live, destination=proxy)
    assert "version '9' is not supported on this host" in result.err, result
    at_home(pair, guest, result, 3)


@on(by_hand=["mixed"])
def test_downwards_is_refused(pair):
    guest = first(pair)
    assert pair.migrate(guest, pair.live).status == 0
    pair.one_copy(guest, pair.destination)
    result = pair.migrate(guest, pair.live, source=pair.destination, destination=pair.source)
    assert result.status in (1, 3), result
    pair.one_copy(guest, pair.destination)


# -- daemons and clients that end -----------------------------------------------------------------

@on(by_hand=["4.17"])
def test_source_daemon_restarted(pair):
    guest = first(pair)
    client = pair.start_migrate(guest, pair.live)
    pair.wait_incoming(guest)
    pair.source.link(False)
    pair.source.restart_libvirtd()
    pair.source.link(True)
    at_home(pair, guest, pair.finish(client, 240))


def stopped_and_then_cut(pair, guest):
    """A guest that is not live stands still while all of its memory goes; then the receiver dies."""
    client = pair.start_migrate(guest, "--no-live")
    pair.wait_incoming(guest)
    pair.source.run(f"until xl list | grep -q '^{guest.name} .* ..-*s'; do :; done", 60)
    pair.destination.run("pkill -9 -f libxl-save-helper")
    return pair.finish(client, 240)


@on(by_hand=["4.17"])
def test_perform_fails_after_the_guest_was_stopped(pair):
    guest = first(pair)
    result = stopped_and_then_cut(pair, guest)
    assert "it was woken at the source" in result.err, result
    at_home(pair, guest, result)


@on(by_hand=["4.20"])
def test_perform_fails_and_libvirt_cannot_wake_the_guest(pair):
    guest = first(pair)
    result = stopped_and_then_cut(pair, guest)
    assert result.status == 7, result
    advised = re.search(r"`(xl resume [^`]*)`", result.err)
    assert advised, result
    assert pair.runnable(guest) == []
    pair.source.run(advised.group(1))
    pair.one_copy(guest, pair.source)


def refuse_finish(pair):
    """A relay before the destination, which there finds no guest when it is told to go on."""
    proxy = pair.proxy(pair.destination)
    name = guests_of(pair.kind)[0].name.encode()

    def forge(payload):
        cancelled = payload[-4:] != bytes(4)
        return payload if cancelled else payload.replace(name, b"x" * len(name))
    proxy.rewrite(FINISH, "call", forge)
    return proxy


@on(by_hand=["4.17"])
def test_finish_refused(pair):
    guest = first(pair)
    result = pair.migrate(guest, pair.live, destination=refuse_finish(pair), seconds=240)
    at_home(pair, guest, result)


@on(by_hand=["4.20"])
def test_finish_refused_and_libvirt_cannot_wake_the_guest(pair):
    guest = first(pair)
    result = pair.migrate(guest, pair.live, destination=refuse_finish(pair), seconds=240)
    assert result.status == 7, result
    advised = re.search(r"`(xl resume [^`]*)`", result.err)
    assert advised, result
    assert not pair.destination.domains(), pair.destination.domains()
    pair.source.run(advised.group(1))
    pair.one_copy(guest, pair.source)


@on("4.17")
def test_client_killed(pair):
    """The daemons keep their locks for a client that is gone; what the next one advises helps."""
    guest = first(pair)
    client = pair.start_migrate(guest, pair.live)
    pair.wait_incoming(guest)
    client.signal(signal.SIGKILL)
    client.wait()
    wait_for("the memory to have arrived",
             lambda: pair.state(pair.destination, guest.name) in ((3, 1), (3, 2)), 150)
    assert pair.runnable(guest) == []
    result = pair.migrate(guest, pair.live, seconds=90)
    assert result.status == 7 and "stands still: an earlier migration" in result.err, result
    follow(pair, guest, result)


@on(by_hand=["4.17"])
def test_client_killed_after_the_guest_went_on(pair):
    """Nobody ended the source's copy. A second try must not wake it."""
    guest = first(pair)
    proxy = pair.proxy(pair.source)
    confirm = proxy.at(CONFIRM, "before-call", lambda proxy: proxy.freeze(True))
    client = pair.start_migrate(guest, pair.live, source=proxy)
    assert confirm.fired.wait(60)
    client.signal(signal.SIGKILL)
    client.wait()
    pair.source.restart_libvirtd()
    result = pair.migrate(guest, pair.live, seconds=90)
    assert result.status == 7 and "stands still: an earlier migration" in result.err, result
    pair.one_copy(guest, pair.destination)
    follow(pair, guest, result)
