"""What a Xen host boots: hypervisor, dom0's kernel and initrd, a root disk; made once per release.

The root comes from this system's package mirror by debootstrap. All of it is kept outside the tree,
under names made of what it was made from, so that another recipe never meets an old image.
"""
import fcntl
import gzip
import hashlib
import lzma
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

from backports import cache_dir, mirror

FILES = Path(__file__).resolve().parent / "files"
PACKAGES = ["libvirt-daemon", "libvirt-daemon-driver-xen", "libvirt-clients", "linux-image-amd64",
            "iproute2", "kmod", "busybox-static", "openssh-server", "procps"]
XEN_PACKAGES = {"bookworm": ["xen-hypervisor-4.17-amd64", "xen-utils-4.17"],
                "trixie": ["xen-hypervisor-4.20-amd64", "xen-utils-4.20"]}
RELEASES = {"4.17": "bookworm", "4.20": "trixie"}

_INITRD_MODULES = ["virtio_pci", "virtio_blk", "virtio_net", "ext4", "xenfs", "xen-evtchn",
                   "xen-gntdev", "xen-gntalloc"]
_GUEST_MODULES = ["xen-blkfront", "xen-netfront"]
_DOM0_MODULES = ["bridge", "xen-blkback", "xen-netback"]

_LIBVIRTD_CONF = """listen_tls = 0
listen_tcp = 1
listen_addr = "0.0.0.0"
auth_tcp = "none"
auth_unix_rw = "none"
log_outputs = "2:file:/var/log/libvirtd.log"
"""
_DPKG_CONF = """force-unsafe-io
force-confold
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/man/*
path-exclude=/usr/share/locale/*
"""


def _digest(*texts):
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def _run(log, *argv, seconds=900, **env):
    subprocess.run([str(a) for a in argv], check=True, stdin=subprocess.DEVNULL, stdout=log,
                   stderr=log, timeout=seconds,
                   env=os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"} | env)


class Image:
    """The files of one release, below `dir`: base.img, xen, vmlinuz, dom0.cpio, key, hostkey.pub."""

    def __init__(self, xen_version):
        self.xen_version, self.release = xen_version, RELEASES[xen_version]
        packages = PACKAGES + XEN_PACKAGES[self.release]
        recipe = [path.read_text() for path in sorted(FILES.iterdir())]
        root_key = _digest(self.release, *packages, _DPKG_CONF)
        self.key = _digest(root_key, Path(__file__).read_text(), *recipe)
        self.root = cache_dir() / f"xen-root-{self.release}-{root_key}"
        self.dir = cache_dir() / f"xen-image-{self.release}-{self.key}"

    def make(self):
        """Build what is missing (minutes the first time); returns self."""
        cache_dir().mkdir(parents=True, exist_ok=True)
        with open(cache_dir() / f"xen-{self.release}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.dir.exists():
                return self
            with open(cache_dir() / f"xen-{self.release}.log", "wb") as log:
                if not self.root.exists():
                    _remove_old(f"xen-root-{self.release}-*")
                    self._make_root(log)
                _remove_old(f"xen-image-{self.release}-*")
                self._make_image(log)
        return self

    def _make_root(self, log):
        part = cache_dir() / f"xen-part-{self.release}"
        shutil.rmtree(part, ignore_errors=True)
        _run(log, "debootstrap", "--variant=minbase", self.release, part, mirror())
        (part / "etc/dpkg/dpkg.cfg.d/lab").write_text(_DPKG_CONF)
        (part / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
        (part / "usr/sbin/policy-rc.d").chmod(0o755)
        _run(log, "chroot", part, "apt-get", "update")
        _run(log, "chroot", part, "apt-get", "install", "-y", "--no-install-recommends",
             *PACKAGES, *XEN_PACKAGES[self.release], INITRD="No")
        _run(log, "chroot", part, "apt-get", "clean")
        shutil.rmtree(part / "var/lib/apt/lists")
        part.rename(self.root)

    def _make_image(self, log):
        part = cache_dir() / f"xen-part-image-{self.release}"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        self._keep_needed_modules(log)
        self._write_root(part)
        archive(part / "dom0.cpio", self._initrd())
        hypervisor = next(self.root.glob("boot/xen-4.*-amd64.gz"))
        (part / "xen").write_bytes(gzip.decompress(hypervisor.read_bytes()))
        shutil.copy(self.root / "boot" / f"vmlinuz-{self._kernel()}", part / "vmlinuz")
        size = sum(p.lstat().st_size for p in self.root.rglob("*")) // 2**20
        _run(log, "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", self.root,
             part / "base.img", f"{int(size * 1.2) + 200}M")
        part.rename(self.dir)

    def _kernel(self):
        return next((self.root / "lib/modules").iterdir()).name

    def _modules(self, names):
        """Paths, inside the root, of these modules and what they need, in the order of loading."""
        found = []
        for name in names:
            out = subprocess.run(["chroot", str(self.root), "modprobe", "-S", self._kernel(),
                                  "--show-depends", name], check=True, capture_output=True,
                                 text=True, timeout=60).stdout
            for path in re.findall(r"^insmod (\S+)", out, re.M):
                if path not in found:
                    found.append(path)
        return found

    def _keep_needed_modules(self, log):
        keep = {Path(p).name for p in
                self._modules(_INITRD_MODULES + _GUEST_MODULES + _DOM0_MODULES)}
        for path in (self.root / "lib/modules").rglob("*.ko*"):
            if path.name not in keep:
                path.unlink()
        _run(log, "chroot", self.root, "depmod", self._kernel())

    def _module_files(self, names):
        files = {}
        for number, path in enumerate(self._modules(names), 10):
            data = (self.root / path.lstrip("/")).read_bytes()
            name = Path(path).name
            if name.endswith(".xz"):
                data, name = lzma.decompress(data), name[:-3]
            files[f"m/{number}-{name}"] = (data, 0o644)
        return files

    def _busybox(self):
        path = next(p for p in (self.root / "bin/busybox", self.root / "usr/bin/busybox")
                    if p.exists())
        return path.read_bytes(), 0o755

    def _initrd(self):
        files = {"init": ((FILES / "initrd-init").read_bytes(), 0o755),
                 "bin/busybox": self._busybox()}
        for name in ("sh", "mount", "insmod", "switch_root", "sleep"):
            files[f"bin/{name}"] = (b"busybox", stat.S_IFLNK | 0o777)
        for name in ("proc", "sys", "dev", "r"):
            files[name] = (b"", stat.S_IFDIR | 0o755)
        return files | self._module_files(_INITRD_MODULES)

    def _guest_initrd(self):
        files = {"init": ((FILES / "guest-init").read_bytes(), 0o755),
                 "bin/busybox": self._busybox(), "bin/sh": (b"busybox", stat.S_IFLNK | 0o777)}
        for name in ("proc", "sys", "dev", "tmp"):
            files[name] = (b"", stat.S_IFDIR | 0o755)
        return files | self._module_files(_GUEST_MODULES)

    def _write_root(self, part):
        root = self.root
        # Under emulation there is no vme, and without it libvirt finds no CPU model at all.
        model = root / "usr/share/libvirt/cpu_map/x86_486.xml"
        model.write_text("".join(line for line in model.read_text().splitlines(True)
                                 if "'vme'" not in line))
        # libvirtd ends when this driver cannot start, and there is no user for it.
        for driver in root.glob("usr/lib/*/libvirt/connection-driver/libvirt_driver_qemu.so"):
            driver.unlink()
        for name, place in (("dom0-init", "lab-init"), ("agent", "lab-agent")):
            shutil.copy(FILES / name, root / place)
            (root / place).chmod(0o755)
        (root / "guest").mkdir(exist_ok=True)
        shutil.copy(root / "boot" / f"vmlinuz-{self._kernel()}", root / "guest/vmlinuz")
        archive(root / "guest/initrd", self._guest_initrd())
        (root / "etc/libvirt/libvirtd.conf").write_text(_LIBVIRTD_CONF)
        (root / "etc/hosts").write_text("127.0.0.1 localhost\n10.9.0.1 h1\n10.9.0.2 h2\n")
        self._write_keys(part)

    def _write_keys(self, part):
        """The hosts are reachable from the machine that made them alone; the keys stay there."""
        ssh = self.root / "etc/ssh"
        for path in (ssh / "ssh_host_ed25519_key", part / "key"):
            if not path.exists():
                subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)],
                               check=True, timeout=60)
        shutil.copy(ssh / "ssh_host_ed25519_key.pub", part / "hostkey.pub")
        home = self.root / "root/.ssh"
        home.mkdir(mode=0o700, exist_ok=True)
        (home / "authorized_keys").write_bytes((part / "key.pub").read_bytes())
        (home / "authorized_keys").chmod(0o600)


def _remove_old(pattern):
    for path in cache_dir().glob(pattern):
        shutil.rmtree(path)


def archive(path, files):
    """Write {name: (content, mode)} as a cpio archive, "newc" format of the kernel's initramfs
    (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    folders = {parent.as_posix() for name in files for parent in Path(name).parents}
    wanted = {name: (b"", stat.S_IFDIR | 0o755) for name in sorted(folders - {"."})} | files
    with open(path, "wb") as out:
        for number, (name, (data, mode)) in enumerate(wanted.items(), 1):
            _entry(out, number, name, data, mode if stat.S_IFMT(mode) else mode | stat.S_IFREG)
        _entry(out, 0, "TRAILER!!!", b"", 0)


def _entry(out, inode, name, data, mode):
    fields = [inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
    out.write(b"070701" + "".join(f"{f:08X}" for f in fields).encode() + name.encode() + b"\0")
    out.write(b"\0" * (-out.tell() % 4) + data)
    out.write(b"\0" * (-out.tell() % 4))
