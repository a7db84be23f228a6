#!/usr/bin/env bash
# Install what tests/packages.txt lists and this system lacks. Needs root only if something is missing.
#
#   tests/install.sh          everything
#   tests/install.sh --demo   what is needed to build, and to run the demo without libvirt
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

list=$(cat "$here/packages.txt")
[ "${1:-}" != --demo ] || list=${list%%$'\n'# to test*}
missing=()
while read -r name; do
  state=$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null || true)
  [ "$state" = installed ] || missing+=("$name")
done < <(sed 's/#.*//; s/[[:space:]]*$//; /^$/d' <<< "$list")
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
  echo "these packages are missing, and only root can install them: ${missing[*]}" >&2
  exit 1
fi
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The services that come with the packages are not needed, and must not change this machine.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod 755 "$policy"
  trap 'rm -f "$log" "$policy"' EXIT
fi
if ! { timeout 300 apt-get update && timeout 900 apt-get install -y --no-install-recommends "${missing[@]}"; } \
    > "$log" 2>&1; then
  tail -n 30 "$log" >&2
  echo "the packages could not be installed" >&2
  exit 1
fi
