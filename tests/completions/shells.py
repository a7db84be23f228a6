#!/usr/bin/env python3
"""The completions in the real shells, typed at a pseudo-terminal.
Usage: shells.py VMFERRY ROOT [--all]

A shell that is not installed is skipped, and said so; with --all it is a failure.
"""
import os
import pathlib
import pty
import resource
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

PATIENCE = 20  # seconds; a loaded machine starts a shell slowly


class Shell:
    """An interactive shell; what it prints is collected."""

    def __init__(self, argv, home, path):
        self.seen = ''
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            env = {'HOME': home, 'PATH': path + ':' + os.environ['PATH'], 'TERM': 'dumb',
                   'LANG': 'C.UTF-8', 'PS1': '', 'VMFERRY_URI': 'qemu:///system'}
            os.chdir(home)
            os.execvpe(argv[0], argv, env)

    def type(self, text):
        os.write(self.fd, text.encode())

    def wait_for(self, text, patience=PATIENCE):
        end = time.monotonic() + patience
        while text not in self.seen and time.monotonic() < end:
            ready, _, _ = select.select([self.fd], [], [], 0.2)
            if not ready:
                continue
            try:
                self.seen += os.read(self.fd, 65536).decode(errors='replace').replace('\x07', '')
            except OSError:
                break
        found = text in self.seen
        seen, self.seen = self.seen, ''
        return found, seen

    def close(self):
        os.close(self.fd)
        try:
            os.kill(self.pid, 9)
        except ProcessLookupError:
            pass
        os.waitpid(self.pid, 0)


def shells(root):
    """name -> (argv, line that loads the completion)"""
    bash = f'. /usr/share/bash-completion/bash_completion; . {root}/completions/vmferry.bash'
    zsh = f'autoload -U compinit; compinit -u -D; . {root}/completions/_vmferry'
    return {
        'bash': (['bash', '--norc', '--noprofile', '-i'], bash),
        'zsh': (['zsh', '-f', '-i'], zsh),
        'fish': (['fish', '--no-config', '-i'], f'source {root}/completions/vmferry.fish'),
    }


CASES = [
    ('vmferry migrate-setm\t', 'migrate-setmaxdowntime', 'a command'),
    ('vmferry list --inac\t', '--inactive', 'an option'),
    ('vmferry list --output js\t', 'json', 'the value of an option'),
    ('vmferry migrate web1 known-ho\t', 'known-host.example', 'a host that ssh knows'),
    ('vmferry migrate web1 qemu+ssh://known-ho\t', 'qemu+ssh://known-host.example/system', 'a URI'),
    ('vmferry define guest-f\t', 'guest-file.xml', 'a file'),
    ('vmferry -c test:///default migrate we\t', 'web1', 'a running domain'),
    ('vmferry -c vz:///system migrate a b --pers\t', '--persistent', 'an option of vz'),
]
# typed, what the shell would add if it could, why it must not
NEVER = [
    ('vmferry -c vz:///system migrate a b --tunnel\t', '--tunnelled', 'an option that vz refuses'),
    ('vmferry -c test:///default migrate id\t', 'idle1', 'a stopped domain'),
    ('vmferry -c test:///absent domstate w\t', 'rror', 'an error'),
]
STATIC_SECONDS = 0.010  # a release build's; others get twice what their mere start takes
DOMAIN_SECONDS = 0.300


def timings(binary, home):
    """How long the program itself takes; a host that never answers counts as one without domains."""
    env = {'HOME': home, 'PATH': os.environ['PATH']}
    build = (binary.parent / 'CMakeCache.txt')
    release = build.exists() and 'CMAKE_BUILD_TYPE:STRING=Release' in build.read_text()

    def once(*words):
        """(seconds, seconds of CPU, result): a busy machine takes longer, but not more CPU."""
        begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        result = subprocess.run([binary, *words], env=env, capture_output=True, timeout=30,
                                check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return time.monotonic() - begin, cpu, result

    def median_cpu(*words):
        return statistics.median(once(*words)[1] for _ in range(15))

    failures = 0
    most = STATIC_SECONDS if release else 2 * median_cpu('--version')
    for words in (['migr'], ['migrate', 'web1', 'host2', '--'], ['rules', '']):
        median = median_cpu('complete', '--', *words)
        ok = median <= most
        failures += not ok
        print(f"{'ok  ' if ok else 'FAIL'} static completion of {words}: {median * 1000:.1f} ms of CPU")
    mute = socket.socket(socket.AF_UNIX)
    mute.bind(f'{home}/mute')
    mute.listen(8)  # connections are taken, and nothing is ever said
    seconds, _, result = once('complete', '--', '-c', f'qemu+unix:///system?socket={home}/mute',
                              'domstate', '')
    slack = 0.5 if release else 5
    ok = seconds <= DOMAIN_SECONDS + slack and not result.stdout + result.stderr
    failures += not ok
    print(f"{'ok  ' if ok else 'FAIL'} a host that does not answer: given up silently after "
          f'{seconds * 1000:.0f} ms {result.stdout + result.stderr!r}')
    mute.close()
    return failures


def run(name, argv, load, home, path):
    failures = 0
    for typed, expected, what in CASES + NEVER:
        wanted = (typed, expected, what) in CASES
        shell = Shell(argv, home, path)
        try:
            shell.type(load + '; echo rea''dy$((40+2))\n' if name != 'fish'
                       else load + '; echo ready(math 40+2)\n')
            ok, seen = shell.wait_for('ready42')
            if ok:
                shell.seen = ''
                shell.type(typed)
                ok, seen = shell.wait_for(expected, PATIENCE if wanted else 2)
                seen = seen.replace(typed.rstrip('\t'), '', 1)
                ok = ok if wanted else expected not in seen
            print(f"{'ok  ' if ok else 'FAIL'} {name}: {'' if wanted else 'never '}{what}")
            if not ok:
                failures += 1
                print(f'  expected {expected!r}, saw {seen!r}')
        finally:
            shell.close()
    return failures


def main():
    binary, root = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
    failures = 0
    with tempfile.TemporaryDirectory() as home:
        os.mkdir(f'{home}/.ssh')
        pathlib.Path(f'{home}/.ssh/known_hosts').write_text(
            'known-host.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA\n')
        pathlib.Path(f'{home}/guest-file.xml').write_text('<domain/>')
        failures += timings(binary, home)
        for name, (argv, load) in shells(root).items():
            if shutil.which(argv[0]) is None:
                print(f'skip {name}: not installed')
                failures += '--all' in sys.argv
                continue
            failures += run(name, argv, load, home, str(binary.parent))
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
