#!/usr/bin/env python3
"""`vmferry help` on a terminal: the manual page where it is installed, the help where it is not.
Usage: terminal.py VMFERRY ROOT."""
import fcntl
import os
import pathlib
import pty
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time

PATIENCE = 60  # seconds; a loaded machine starts man slowly


def on_terminal(argv, env, columns=80):
    """What a program prints on a terminal that wide."""
    pid, fd = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        os.execvpe(argv[0], argv, env)
    seen, end = b"", time.monotonic() + PATIENCE
    while time.monotonic() < end:
        ready, _, _ = select.select([fd], [], [], 0.5)
        if not ready:
            continue
        try:
            more = os.read(fd, 65536)
        except OSError:
            break  # the other end was closed
        if not more:
            break
        seen += more
    else:
        os.kill(pid, 9)
    os.close(fd)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), seen.decode().replace("\r\n", "\n")


def install(root, where):
    """The files as `cmake --install` puts them, by CMake's own script."""
    build = next(p for p in (pathlib.Path(where[0]).parent, root / "build/dev") if
                 (p / "cmake_install.cmake").exists())
    subprocess.run(["cmake", "--install", build, "--prefix", where[1]], check=True,
                   capture_output=True)


def main():
    binary, root = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
    failures = 0

    def check(what, ok, seen):
        nonlocal failures
        print(f"{'ok  ' if ok else 'FAIL'} {what}")
        if not ok:
            failures += 1
            print(f"  saw {seen!r}")

    with tempfile.TemporaryDirectory() as home:
        env = {"HOME": home, "PATH": os.environ["PATH"], "TERM": "dumb", "LANG": "C.UTF-8",
               "PAGER": "cat", "MANPAGER": "cat", "MANWIDTH": "100"}
        without = env | {"MANPATH": f"{home}/nothing"}
        status, seen = on_terminal([binary, "help", "migrate"], without)
        check("help without a page prints the help",
              status == 0 and seen.startswith("Usage: vmferry migrate"), seen[:300])
        check("help fits the terminal", max(map(len, seen.splitlines())) <= 80, seen)
        status, seen = on_terminal([binary, "rules", "vz"], without, columns=140)
        check("rules use a wide terminal", 100 < max(map(len, seen.splitlines())) <= 140, seen[:900])
        install(root, (binary, f"{home}/usr"))
        for path in ("bin/vmferry", "share/man/man1/vmferry.1", "share/man/man1/vmferry-migrate.1",
                     "share/bash-completion/completions/vmferry", "share/vmferry/examples/world.xml",
                     "share/zsh/site-functions/_vmferry",
                     "share/fish/vendor_completions.d/vmferry.fish"):
            check(f"installed: {path}", os.path.exists(f"{home}/usr/{path}"), "")
        if shutil.which("man") is None:
            print("skip: man is not installed")
            return 1 if failures else 0
        pages = env | {"MANPATH": f"{home}/usr/share/man"}
        status, seen = on_terminal([binary, "help", "migrate"], pages)
        check("help opens the page", status == 0 and "VMFERRY-MIGRATE(1)" in seen, seen[:300])
        status, seen = on_terminal([binary, "help", "list"], pages)
        check("help of a command without a page of its own prints the help",
              status == 0 and seen.startswith("Usage: vmferry list"), seen[:300])
        piped = subprocess.run([binary, "help", "migrate"], env=pages, text=True,
                               capture_output=True, check=True).stdout
        check("a pipe gets the help", piped.startswith("Usage: vmferry migrate"), piped[:300])
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
