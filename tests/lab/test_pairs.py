"""Every flag and every pair of flags: what real daemons say in begin and prepare, against what our
rules predict. Nothing is performed; what prepare made is ended again."""
import json
import subprocess

from phases import Daemon, Refused

CHANGE_PROTECTION, OFFLINE = 0x100, 0x400
PEER_TO_PEER, TUNNELLED = 0x2, 0x4

# Rules of libvirt's public API or of virsh, which a daemon does not repeat in these phases.
CLIENT_ONLY = {
    ("--tunnelled", "--p2p"),
    ("--tunnelled", "--parallel"),
    ("--copy-storage-all", "--copy-storage-inc"),
    ("--copy-storage-synchronous-writes", "--copy-storage-all"),
}
# What later releases refuse (the first that is known to), and older ones take all the same:
# 9.0 forgets to return after raising the error, and knows no compression of parallel connections.
LATER = {
    ("--tunnelled", "--copy-storage-all"): 11_003_000,
    ("--tunnelled", "--copy-storage-inc"): 11_003_000,
    ("--compressed", "--parallel"): 9_004_000,
}
# What depends on how these hosts are set up, not on rules: {flag: code}.
SET_UP = {
    "--tls": (1, "no certificates for migration are configured here"),
    "--rdma-pin-all": (74, "this QEMU has no RDMA"),
    "--postcopy": (74, "post-copy needs userfaultfd, which namespaces may forbid"),
    "--zerocopy": (74, "this QEMU cannot send without a copy"),
}


def ask(lab, guest, value):
    """None, or (phase, code, message) of the daemons' refusal."""
    source, destination = Daemon(lab.source.socket_path), Daemon(lab.destination.socket_path)
    domain = source.domain(guest.name)
    try:
        try:
            cookie, xml = source.begin(domain, value)
        except Refused as refusal:
            return "begin", refusal.code, refusal.message
        try:
            if value & (PEER_TO_PEER | TUNNELLED):
                return None  # prepare is the source daemon's own business then
            destination.prepare(guest.name, xml, cookie, value & ~CHANGE_PROTECTION)
        except Refused as refusal:
            return "prepare", refusal.code, refusal.message
        finally:
            if value & CHANGE_PROTECTION:
                source.confirm_cancelled(domain, value)
        # libvirt 9.0 keeps a domain that is neither active nor defined after an offline prepare whose
        # finish is cancelled, and nothing can remove it: there the finish is a real one.
        offline = bool(value & OFFLINE)
        destination.finish(guest.name, value & ~CHANGE_PROTECTION, cancelled=not offline)
        if offline:
            lab.destination.connection.lookupByName(guest.name).undefine()
        return None
    finally:
        source.close()
        destination.close()


def judge(pair, answer, release):
    """None if prediction and answer agree, else what differs."""
    predicted = [o for o in pair["objections"] if "libvirt_code" in o]
    codes = {o["libvirt_code"]["number"] for o in predicted}
    if answer is None:
        of_daemon = [o for o in predicted if (o.get("option"), o.get("other")) not in CLIENT_ONLY
                     and release >= LATER.get((o.get("option"), o.get("other")), 0)]
        return f"predicted {sorted(codes)}, accepted" if of_daemon else None
    phase, code, message = answer
    if code in codes:
        return None
    if any(SET_UP.get(flag, (0,))[0] == code for flag in pair["flags"]):
        return None
    return f"predicted {sorted(codes)}, {phase} said {code}: {message}"


def compare(lab, running, part, parts):
    state = [] if running else ["--stopped"]
    argv = [lab.vmferry, "--output", "json", "rules", "qemu", "--pairs", *state]
    pairs = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)
    assert len(pairs) == 21 * 22 // 2
    guest = lab.guest(ticks=0, persistent=True, start=running)
    release = lab.source.connection.getLibVersion()
    differences = []
    for pair in pairs[part::parts]:
        wrong = judge(pair, ask(lab, guest, pair["value"]), release)
        if wrong:
            differences.append(f"{' '.join(pair['flags'])}: {wrong}")
    assert not differences, "\n" + "\n".join(differences)
    assert not lab.destination.qemu_pids(), "an incoming guest was left behind"


def test_pairs_of_flags_running_1(lab):
    compare(lab, True, 0, 3)


def test_pairs_of_flags_running_2(lab):
    compare(lab, True, 1, 3)


def test_pairs_of_flags_running_3(lab):
    compare(lab, True, 2, 3)


def test_pairs_of_flags_stopped(lab):
    compare(lab, False, 0, 1)
