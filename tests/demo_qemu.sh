#!/usr/bin/env bash
# Shows vmferry with nothing but QEMU: no root, no libvirt, no daemon. Two tiny guests under software
# emulation count on their serial ports; one moves live to "another host" (a second directory), the
# other into a new QEMU process in place, and neither misses a count. Leaves nothing behind.
#
# The second half of tests/demo.sh. Usage: demo_qemu.sh [VMFERRY [NEW-QEMU]]
set -euo pipefail
cd "$(dirname "$0")/.."
vmferry=${1:-build/release/vmferry}
qemu=$(command -v qemu-system-x86_64) || { echo "qemu-system-x86_64 is not installed" >&2; exit 1; }
new_qemu=${2:-$qemu}
dir=$(mktemp -d)
here="qmp:///session?dir=$dir/here"
there="qmp:///session?dir=$dir/there"
end() {
  for host in "$here" "$there"; do
    for guest in ferry stay; do
      "$vmferry" -q -c "$host" destroy $guest > /dev/null 2>&1 || true
    done
  done
  rm -rf "$dir"
}
trap end EXIT

# A boot sector that writes a growing number to COM1 at each tick of the BIOS clock; its source is in
# tests/core/drivers/qmp/boot_sector.hpp.
printf '\x31\xc0\x8e\xd8\x8e\xd0\xbc\x00\x7c\x66\x31\xdb\xb9\x08\x00\x66\x89\xda\x66\xc1\xc2\x04\x88\xd0\x24\x0f\x04\x30\x3c\x39\x76\x02\x04\x27\xe8\x16\x00\xe2\xeb\xb0\x0a\xe8\x0f\x00\x66\x43\xa1\x6c\x04\xfb\xf4\x3b\x06\x6c\x04\x74\xf8\xeb\xd1\x52\xba\xf8\x03\xee\x5a\xc3' > "$dir/boot.img"
printf '\x55\xaa' | dd of="$dir/boot.img" bs=1 seek=510 conv=notrunc status=none
truncate -s 1M "$dir/boot.img"

define() {
  cat > "$dir/$1.xml" <<XML
<domain type='qemu'>
  <name>$1</name>
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <emulator>$qemu</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/><source file='$dir/boot.img'/>
      <target dev='vda' bus='virtio'/><readonly/>
    </disk>
    <serial type='file'><source path='$dir/$1.serial' append='on'/></serial>
  </devices>
</domain>
XML
  run -c "$here" define "$dir/$1.xml"
  run -c "$here" start "$1"
}
run() {
  echo "\$ vmferry ${*//$dir/DIR}"
  "$vmferry" "$@"
}
counts() { tr -d '\r' < "$dir/$1.serial" | grep -E '^[0-9a-f]{8}$' || true; }
await_counts() { # GUEST NUMBER: until it has counted that much further
  local goal=$(($(counts "$1" | wc -l) + $2))
  for _ in $(seq 300); do
    [ "$(counts "$1" | wc -l)" -ge "$goal" ] && return
    sleep 0.1
  done
  echo "guest $1 does not count" >&2
  exit 1
}
check() { # GUEST: every number follows the one before
  await_counts "$1" 5
  local n=0 line
  while read -r line; do
    if [ "$((16#$line))" != "$n" ]; then echo "$1: $line where $n was due" >&2; exit 1; fi
    n=$((n + 1))
  done < <(counts "$1")
  echo "   $1 has counted to $n without a gap"
}

echo "== two guests"
define ferry
define stay
await_counts ferry 5
await_counts stay 5
echo "== one moves to another host, live"
run -c "$here" migrate --live --verbose ferry "$there"
check ferry
run -c "$there" list
echo "== the other gets a new QEMU under it"
run -c "$here" upgrade stay --emulator "$new_qemu"
check stay
run -c "$here" list
