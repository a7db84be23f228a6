"""Keys and a configuration for a real sshd, all in a directory of the test's own."""
import subprocess
from pathlib import Path

_CONF = """HostKey {dir}/hostkey
AuthorizedKeysFile {client_key}.pub
PermitRootLogin yes
StrictModes no
UsePAM no
PidFile none
"""


def make_key(path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


def configure(directory, client_key):
    """Makes hostkey and sshd.conf there, for a client that has that key."""
    (Path(directory) / "sshd.conf").write_text(_CONF.format(dir=directory, client_key=client_key))
    make_key(Path(directory) / "hostkey")


def command(directory):
    return ["/usr/sbin/sshd", "-D", "-f", f"{directory}/sshd.conf"]


def known_host(directory, names):
    """A line of known_hosts for the sshd of that directory."""
    kind, key = (Path(directory) / "hostkey.pub").read_text().split()[:2]
    return f"{names} {kind} {key}\n"
