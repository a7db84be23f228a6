#!/usr/bin/env bash
# Everything that is tested: installs packages, builds with sanitizers, runs unit tests, house
# rules, fuzzers for a moment, and real libvirt hosts. As root on Debian 12. One build serves all.
#
#   tests/all.sh              FUZZ_SECONDS=N (default 10) for each fuzzer
#                             SIMULATION_SECONDS=N (default 20) for seeds that nobody has tried
#   VMFERRY_SKIP=xen          leaves out the Xen hosts, and says so
#
# Closes with "N passed, N failed"; the exit status says the same.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
build=build/sanitize
passed=0 failed=0 skipped= unmade=
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
export UBSAN_OPTIONS=print_stacktrace=1
export ASAN_OPTIONS=detect_stack_use_after_return=1

# step NAME SECONDS COMMAND...: output is shown only when it fails; returns the command's status
step() {
  local name=$1 seconds=$2 begin=$SECONDS status
  shift 2
  timeout --kill-after=20 "$seconds" "$@" > "$logs/step" 2>&1 < /dev/null
  status=$?
  if [ $status = 0 ]; then
    printf 'ok     %s (%d s)\n' "$name" $((SECONDS - begin))
  else
    grep '^FAILED' "$logs/step"
    tail -n 200 "$logs/step"
    [ $status != 124 ] || echo "took longer than $seconds s"
    printf 'FAILED %s (%d s, status %d)\n' "$name" $((SECONDS - begin)) $status
  fi
  return $status
}

# single NAME SECONDS COMMAND...: a step that counts as one test
single() {
  if step "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); return 1; fi
}

finish() {
  [ -z "$skipped" ] || echo "SKIPPED, because VMFERRY_SKIP asked for it: $skipped"
  [ -z "$unmade" ] || echo "NOT TESTED: $unmade"
  echo "$passed passed, $failed failed"
  [ $failed = 0 ] && [ $passed != 0 ]
  exit
}

# suite NAME SECONDS PATTERN COMMAND...: adds the counts of the line that PATTERN finds
suite() {
  local name=$1 seconds=$2 pattern=$3 status good bad
  shift 3
  step "$name" "$seconds" "$@"
  status=$?
  read -r good bad < <(sed -nE "s/$pattern/\1 \2/p" "$logs/step" | tail -n 1)
  passed=$((passed + ${good:-0})) failed=$((failed + ${bad:-0}))
  # a suite that failed without saying how many, or that ran nothing, is one failure
  if { [ $status != 0 ] && [ "${bad:-0}" = 0 ]; } || { [ $status = 0 ] && [ "${good:-0}" = 0 ]; }; then
    echo "FAILED $name: status $status, ${good:-0} tests passed"
    failed=$((failed + 1))
  fi
}

# side_by_side FUNCTION...: groups of steps, one core each; what they print comes group by group
side_by_side() {
  local group good bad
  for group in "$@"; do
    (
      passed=0 failed=0 logs=$logs/$group
      mkdir "$logs"
      "$group" > "$logs/told" 2>&1
      echo $passed $failed > "$logs/counts"
    ) &
  done
  wait
  for group in "$@"; do
    cat "$logs/$group/told"
    good=0 bad=1  # of a group that did not come to its end
    read -r good bad < "$logs/$group/counts"
    passed=$((passed + good)) failed=$((failed + bad))
  done
}

single "install packages" 1300 tests/install.sh || finish
single "configure" 120 cmake --preset sanitize || finish
single "build" 2400 cmake --build --preset sanitize || finish

single "clang-format" 120 bash -c \
  'find cli core transports tests -name "*.[ch]pp" | xargs clang-format-19 --dry-run -Werror'
for rules in tests/tidy.py tests/layers.py; do
  single "house rules: $rules" 120 /usr/bin/python3 "$rules"
done
checks() {
  suite "unit tests" 900 '.*test cases: *[0-9]+ \| *([0-9]+) passed \| *([0-9]+) failed.*' \
    "$build/tests/unit_tests"
  single "manual pages are clean" 60 mandoc -T lint -W style man/*.1
  single "completions in bash, zsh and fish" 300 /usr/bin/python3 tests/completions/shells.py \
    "$build/vmferry" . --all
  single "help on a terminal, and what is installed" 200 /usr/bin/python3 tests/cli/terminal.py \
    "$build/vmferry" .
  for source in tests/fuzz/*.cpp; do
    name=$(basename "$source" .cpp)
    mkdir -p "$logs/corpus-$name"
    single "fuzz $name" 120 "$build/tests/fuzz_$name" -max_total_time="${FUZZ_SECONDS:-10}" \
      -rss_limit_mb=1024 -timeout=10 -artifact_prefix="$logs/" "$logs/corpus-$name"
  done
}
simulations() {
  single "simulation: every single fault at every step, and fixed seeds" 1800 \
    "$build/tests/simulation" --exhaustive --seeds 300
  single "simulation: some of all pairs of faults" 300 "$build/tests/simulation" --pairs --every 797
  single "simulation: connections cut at bytes" 300 "$build/tests/simulation" --cuts --every 29
  single "simulation: fresh seeds" 180 "$build/tests/simulation" --fresh "${SIMULATION_SECONDS:-20}"
}
side_by_side checks simulations

suite "bare QEMU" 1200 '([0-9]+) passed, ([0-9]+) failed' \
  tests/lab/qmp/run.py --vmferry "$build/vmferry"
suite "real hosts" 1800 '([0-9]+) passed, ([0-9]+) failed' \
  tests/lab/run.py -j 2 --vmferry "$build/vmferry"
# A second root directory with newer releases, made once from the package mirror (about a minute).
if timeout --kill-after=20 900 /usr/bin/python3 tests/lab/backports.py > "$logs/root" 2>&1 < /dev/null
then
  suite "real hosts of two releases" 600 '([0-9]+) passed, ([0-9]+) failed' \
    tests/lab/run.py --mixed -k '^test_mixed' -j 1 --vmferry "$build/vmferry"
else
  tail -n 5 "$logs/root"
  unmade="hosts of two releases (the newer one could not be installed, see above)"
fi
if [ "${VMFERRY_SKIP:-}" = xen ]; then
  skipped="Xen hosts (nothing of Xen was tested)"
else
  suite "Xen hosts" 1500 '([0-9]+) passed, ([0-9]+) failed' \
    tests/lab/xen/run.py --vmferry "$build/vmferry"
fi
finish
