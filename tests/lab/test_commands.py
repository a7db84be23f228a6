"""The other commands against a real daemon, compared with what stock libvirt says."""
import subprocess

import libvirt


def text(lab, *args, status=0):
    result = lab.ferry("-c", lab.source.uri(), *args)
    assert result.status == status, result
    return result.out


def virsh(lab, *args):
    return subprocess.run(["virsh", "-c", lab.source.uri(), *args], check=True, text=True,
                          capture_output=True).stdout


def test_list_shows_running_and_defined(lab):
    running, defined = lab.guest(ticks=0), lab.guest(start=False)
    assert running.name in text(lab, "list") and defined.name not in text(lab, "list")
    everything = text(lab, "list", "--all")
    assert running.name in everything and defined.name in everything
    names = text(lab, "list", "--all", "--name").split()
    assert sorted(names) == sorted([running.name, defined.name])


def test_life_cycle(lab):
    guest = lab.guest(start=False)
    domain = lab.source.connection.lookupByName(guest.name)
    text(lab, "start", guest.name)
    assert domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
    text(lab, "suspend", guest.name)
    assert domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED
    text(lab, "resume", guest.name)
    assert domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
    text(lab, "destroy", guest.name)
    assert domain.state()[0] == libvirt.VIR_DOMAIN_SHUTOFF
    text(lab, "undefine", guest.name)
    assert not lab.source.connection.listAllDomains()


def test_define_and_dumpxml(lab):
    guest = lab.guest(start=False)
    path = lab.write("again.xml", text(lab, "dumpxml", guest.name))
    text(lab, "undefine", guest.name)
    text(lab, "define", path)
    assert lab.source.connection.lookupByUUIDString(guest.uuid).name() == guest.name


def test_answers_are_those_of_virsh(lab):
    guest = lab.guest()
    for args in (["domstate", guest.name], ["hostname"], ["dumpxml", guest.name],
                 ["capabilities"], ["domcapabilities"], ["migrate-getmaxdowntime", guest.name]):
        assert text(lab, *args).strip() == virsh(lab, *args).strip(), args


def test_host_facts(lab):
    assert "CPU" in text(lab, "nodeinfo")
    assert "qemu" in text(lab, "uri")
    assert "9.0" in text(lab, "version") or "11." in text(lab, "version")


def test_migration_settings(lab):
    guest = lab.guest(fill=8)
    text(lab, "migrate-setmaxdowntime", guest.name, "700")
    assert "700" in text(lab, "migrate-getmaxdowntime", guest.name)
    text(lab, "migrate-setspeed", guest.name, "33")
    assert "33" in text(lab, "migrate-getspeed", guest.name)
    text(lab, "migrate-compcache", guest.name, "--size", str(64 << 20))
    assert "64" in text(lab, "migrate-compcache", guest.name)


def test_job_info_of_a_running_migration(lab):
    guest = lab.guest(fill=32)
    client = lab.start_migrate(guest, "--live", "--bandwidth", "1")
    lab.wait_job(guest, 1 << 20)
    assert "Memory" in text(lab, "domjobinfo", guest.name)
    text(lab, "domjobabort", guest.name)
    lab.finish(client)


def test_unknown_domain(lab):
    text(lab, "domstate", "nobody", status=8)
