#!/usr/bin/env bash
# Shows vmferry at work on Debian 12; leaves nothing behind but build/release.
#
#   tests/demo.sh             installs what is missing, builds, and moves real QEMU guests: no libvirt
#   tests/demo.sh --libvirt   two real libvirt hosts in namespaces instead; needs root
set -euo pipefail
cd "$(dirname "$0")/.."
libvirt=
[ "${1:-}" != --libvirt ] || libvirt=yes
if [ -n "$libvirt" ] && [ "$(id -u)" != 0 ]; then
  echo "needs root: the two hosts are network namespaces with a libvirt daemon in each" >&2
  exit 1
fi
echo "== packages and build (some minutes the first time)"
if [ -n "$libvirt" ]; then tests/install.sh; else tests/install.sh --demo; fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { cmake --preset release && timeout 2400 cmake --build --preset release --target vmferry; } > "$log" 2>&1; then
  tail -n 40 "$log" >&2
  exit 1
fi
rm -f "$log"
if [ -n "$libvirt" ]; then exec /usr/bin/python3 tests/lab/demo.py build/release/vmferry; fi
exec tests/demo_qemu.sh build/release/vmferry
