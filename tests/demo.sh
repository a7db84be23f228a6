#!/usr/bin/env bash
# Shows vmferry at work: two real libvirt hosts on this machine, a real guest that moves from one
# to the other and back while it counts. As root on Debian 12; leaves nothing behind but build/release.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "$(id -u)" != 0 ]; then
  echo "needs root: the two hosts are network namespaces with a libvirt daemon in each" >&2
  exit 1
fi
echo "== packages and build (some minutes the first time)"
tests/install.sh
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { cmake --preset release && timeout 1500 cmake --build --preset release --target vmferry; } > "$log" 2>&1; then
  tail -n 40 "$log" >&2
  exit 1
fi
exec /usr/bin/python3 tests/lab/demo.py build/release/vmferry
