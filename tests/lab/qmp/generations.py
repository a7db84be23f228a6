"""A second, newer QEMU beside this system's own: from the root that backports.py makes, run here."""
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import backports  # noqa: E402

OLD = "/usr/bin/qemu-system-x86_64"
SCRIPT = """#!/bin/bash
libraries={root}/usr/lib/x86_64-linux-gnu
export QEMU_MODULE_DIR=$libraries/qemu
exec -a qemu-system-x86_64 $libraries/ld-linux-x86-64.so.2 --library-path $libraries \\
  {root}/usr/bin/qemu-system-x86_64 -L {root}/usr/share/qemu -L {root}/usr/share/seabios "$@"
"""


def newer(directory):
    """Path of the newer QEMU; made on the first call. Only root can make it, anybody can run it."""
    root = backports.cache_dir() / f"{backports.RELEASE}-backports"
    if os.geteuid() == 0:
        root = backports.root()
    path = Path(directory) / "qemu-newer"
    path.write_text(SCRIPT.format(root=root))
    path.chmod(0o755)
    return str(path)
