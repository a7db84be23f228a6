"""virsh's own help is the measure: every option that it has on a command that we have works, or is
refused with the reason. And what both print of the same host is the same."""
import json
import re
import subprocess

from test_commands import text, virsh


def virsh_help(*command):
    return subprocess.run(["virsh", "help", *command], check=True, text=True,
                          capture_output=True).stdout


def virsh_commands():
    return set(re.findall(r"^    ([a-z][a-z0-9-]+) ", virsh_help(), re.M))


def virsh_options(command):
    options = virsh_help(command).partition("OPTIONS")[2]
    return re.findall(r"^ +\[?--([a-z][a-z0-9-]*)\]?( <\w+>)?", options, re.M)


def test_every_option_of_virsh(lab):
    ours = {c["name"]: c for c in json.loads(text(lab, "help", "--output", "json"))}
    common = sorted(set(ours) & virsh_commands())
    assert len(common) > 20, common
    checked, refused, wrong = 0, 0, []
    for name in common:
        command = ours[name]
        known = {o["name"]: o for o in command["options"] + command["arguments"]}
        for option, value in virsh_options(name):
            checked += 1
            if option not in known:
                wrong.append(f"{name} --{option}: unknown")
                continue
            if bool(value) != ("value" in known[option]):
                wrong.append(f"{name} --{option}: takes a value in one of both only")
            reason = known[option].get("refused")
            if not reason:
                continue
            refused += 1
            argv = [name, f"--{option}", *(["x"] if value else [])]
            result = lab.ferry("-c", "test:///default", *argv)
            if result.status != 2 or reason not in result.err or len(reason) < 20:
                wrong.append(str(result))
    assert not wrong, "\n".join(wrong)
    assert checked > 100 and 0 < refused < 10, (checked, refused)


def words(output):
    return [line.split() for line in output.splitlines() if line.strip()]


def same(lab, *args, without=()):
    mine, theirs = (words(run(lab, *args)) for run in (text, virsh))
    mine, theirs = ([line for line in lines if line[0] not in without]
                    for lines in (mine, theirs))
    assert mine == theirs, f"{args}\n{mine}\n{theirs}"


def test_the_same_as_virsh(lab):
    running, stopped = lab.guest(persistent=True), lab.guest(start=False)
    transient = lab.guest(ticks=0)
    filters = ["--all", "--inactive", "--persistent", "--transient", "--state-running",
               "--state-paused", "--state-shutoff", "--autostart", "--no-autostart",
               "--with-snapshot", "--without-snapshot", "--with-managed-save",
               "--without-managed-save", "--with-checkpoint", "--without-checkpoint"]
    for one in filters:
        same(lab, "list", one)
        every = dict.fromkeys(["--all", one])  # virsh refuses an option that is given twice
        same(lab, "list", *every, "--name")
        same(lab, "list", *every, "--uuid", "--id")
    for form in ("--id", "--title", "--managed-save"):
        same(lab, "list", "--all", form)
    for guest in (running, stopped, transient):
        same(lab, "dominfo", guest.name, without=["CPU"])  # the time goes on
        same(lab, "domstate", guest.name, "--reason")
        for option in ("--inactive", "--security-info", "--update-cpu", "--migratable"):
            same(lab, "dumpxml", guest.name, option)
        same(lab, "dumpxml", guest.name, "--xpath", "//os/type")
        same(lab, "dumpxml", guest.name, "--xpath", "//memory|//vcpu/@placement", "--wrap")
    same(lab, "domjobinfo", running.name)
    same(lab, "domjobinfo", running.name, "--rawstats")
    same(lab, "version", "--daemon", without=["vmferry:", "Compiled", "Using"])


def test_completed_job_as_virsh_shows_it(lab):
    guest = lab.guest(persistent=True)
    result = lab.migrate(guest, "--persistent", "--undefinesource")
    assert result.status == 0, result
    uri = lab.destination.uri()
    for form in ([], ["--rawstats"], ["--anystats"]):
        mine = lab.ferry("-c", uri, "domjobinfo", guest.name, "--completed", "--keep-completed",
                         *form).out
        theirs = subprocess.run(["virsh", "-c", uri, "domjobinfo", guest.name, "--completed",
                                 "--keep-completed", *form], check=True, text=True,
                                capture_output=True).stdout
        assert sorted(words(mine)) == sorted(words(theirs)), f"{form}\n{mine}\n{theirs}"
    # without --keep-completed the statistics are forgotten once they were read
    text_of = lab.ferry("-c", uri, "domjobinfo", guest.name, "--completed").out
    assert "Completed" in text_of, text_of
    assert "None" in lab.ferry("-c", uri, "domjobinfo", guest.name, "--completed").out


def test_migration_capabilities(lab):
    as_json = json.loads(text(lab, "capabilities", "--migration", "--output", "json"))
    assert as_json["driver"] == "QEMU" and "3-params" in as_json["protocols"], as_json
    for feature in ("live", "offline", "p2p", "tunnelled", "change_protection", "bandwidth"):
        assert as_json[feature] is True, (feature, as_json)
    assert as_json["direct"] is False, as_json
    xml = text(lab, "capabilities", "--migration", "--xml")
    host = virsh(lab, "capabilities").partition("<migration_features>")[2]
    own = re.findall(r"<uri_transport>(\w+)<", host.partition("</migration_features>")[0])
    assert own and all(f"<uri_transport>{name}</uri_transport>" in xml for name in own), xml
    assert "<live/>" in xml and "<bandwidth/>" in xml and "<protocol version='3'/>" in xml, xml
    table = text(lab, "capabilities", "--migration")
    assert re.search(r"^protocol versions +2, 3, 3-params$", table, re.M), table
