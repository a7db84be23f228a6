"""A second root directory with a newer libvirt and QEMU, for pairs of hosts of two releases.

Made once by debootstrap from this system's own package mirror, and kept outside the tree.
"""
import fcntl
import os
import shutil
import subprocess
from pathlib import Path

RELEASE = "bookworm"
PACKAGES = ["libvirt-daemon-system", "libvirt-clients", "qemu-system-x86", "qemu-utils",
            "openssh-server", "iproute2", "netcat-openbsd"]


def cache_dir():
    base = os.environ.get("XDG_CACHE_HOME") or "/var/cache"
    return Path(base) / "vmferry-lab"


def mirror():
    """The package mirror of this system that carries the release."""
    out = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages",
         f"Codename: {RELEASE}"], check=True, capture_output=True, text=True).stdout.split()
    if not out:
        raise RuntimeError(f"this system's package sources do not have {RELEASE}: "
                           "the newer libvirt cannot be installed")
    return out[0]


def root():
    """Path of the root; made on the first call, which takes a few minutes."""
    directory = cache_dir()
    directory.mkdir(parents=True, exist_ok=True)
    final = directory / f"{RELEASE}-backports"
    with open(directory / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not final.exists():
            _build(directory, final)
    return str(final)


def _build(directory, final):
    part = directory / "part"
    if part.exists():
        shutil.rmtree(part)
    site = mirror()
    with open(directory / "build.log", "wb") as log:
        def run(*argv):
            env = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
            subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                           timeout=900, env=env)

        run("debootstrap", "--variant=minbase", "--include=ca-certificates", RELEASE, str(part),
            site)
        (part / "etc/apt/sources.list.d/backports.list").write_text(
            f"deb {site} {RELEASE}-backports main\n")
        (part / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
        (part / "usr/sbin/policy-rc.d").chmod(0o755)
        run("chroot", str(part), "apt-get", "update")
        run("chroot", str(part), "apt-get", "install", "-y", "--no-install-recommends", "-t",
            f"{RELEASE}-backports", *PACKAGES)
        run("chroot", str(part), "apt-get", "clean")
    part.rename(final)


if __name__ == "__main__":
    print(root())
