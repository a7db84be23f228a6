#!/usr/bin/env python3
"""An #include may only point the way that ARCHITECTURE in README.md allows.

Usage: layers.py [ROOT]. Prints path:line: why; exit status 1 if there is any.
"""
import pathlib
import re
import sys

HOST = {'core/base', 'core/async', 'core/flags'}
MAY = {
    'core/base': set(),
    'core/flags': {'core/base'},
    'core/xml': {'core/base', 'core/host', 'core/async', 'core/flags'},
    'core/async': {'core/base'},
    'core/xdr': {'core/base'},
    'core/proto': {'core/base', 'core/xdr', 'core/flags', 'core/host', 'core/async'},
    'core/rpc': {'core/base', 'core/xdr', 'core/proto', 'core/async', 'core/flags', 'core/host'},
    'core/qmp': {'core/base', 'core/async'},
    'core/host': HOST,
    'core/migrate': HOST | {'core/host', 'core/xml'},
    'core/facts': HOST | {'core/host', 'core/xml', 'core/migrate'},
    'core/drivers': HOST | {'core/host', 'core/xml', 'core/xdr', 'core/proto', 'core/rpc',
                            'core/qmp'},
    'transports': {'core/base', 'core/async'},
}
ALL = set(MAY)
MAY['cli'] = ALL
# Only the composition root joins drivers and transports; the commands see hosts.
CLI_ROOT_ONLY = {'transports', 'core/rpc', 'core/xdr', 'core/proto'}
CLI_MAY_TRANSPORT = {'cli/main.cpp', 'cli/prompt.hpp', 'cli/cmd_serve.cpp',
                     'cli/data_network.cpp'}
# A library's headers are seen by these folders only, so that no other part depends on it.
LIBRARIES = {
    r'libxml/': {'core/xml'},
    r'libssh2': {'transports'},
}


def layer(path):
    return next((name for name in MAY if path.startswith(name + '/')), None)


def check(root):
    for name in MAY:
        for path in sorted((root / name).rglob('*.?pp')):
            here = str(path.relative_to(root))
            for number, line in enumerate(path.read_text().splitlines(), 1):
                match = re.match(r'#include ["<]([^">]+)[">]', line)
                if not match:
                    continue
                there = layer(match[1])
                if there and there != name and there not in MAY[name]:
                    yield f'{here}:{number}: {name} may not include {there}'
                if name == 'cli' and there in CLI_ROOT_ONLY and here not in CLI_MAY_TRANSPORT:
                    yield f'{here}:{number}: only the composition root may include {there}'
                for library, users in LIBRARIES.items():
                    if match[1].startswith(library) and name not in users:
                        yield f'{here}:{number}: only {", ".join(users)} may include {match[1]}'


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent)
    bad = list(check(root))
    print('\n'.join(bad))
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
