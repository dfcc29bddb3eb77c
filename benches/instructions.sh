#!/usr/bin/env bash
# Counts the instructions of the hot paths, and holds them against benches/instructions.txt. Fails
# when one needs more than a twentieth above its baseline. The count hardly depends on the machine
# and its load; it does on the compiler, so a new one may need a new baseline.
#
#   benches/instructions.sh            compares
#   benches/instructions.sh --update   writes the baseline
#
# Needs valgrind. Takes about a minute, building aside. Closes with one count of its checks.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
baseline=benches/instructions.txt
percent_max=105

if ! command -v valgrind >/dev/null; then
	echo 'instructions.sh: skipped, needs valgrind (apt-get install valgrind)'
	echo '0 passed, 0 failed, 1 skipped'
	exit 0
fi
cargo build --quiet --release --package bifrons-load --example instructions
counter=${CARGO_TARGET_DIR:-target}/release/examples/instructions
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Counted twice with different rounds, so that what comes once cancels out.
count() {
	valgrind --tool=callgrind --toggle-collect='*::measured' --callgrind-out-file=/dev/null \
		"$counter" "$1" "$2" 2>&1 >/dev/null | sed -n 's/.*Collected : //p'
}

passed=0 failed=0
while read -r name operations; do
	few=$(count "$name" 20) many=$(count "$name" 220)
	now=$(( (many - few) / (200 * operations) ))
	echo "$name $now" >>"$scratch/now"
	before=$(sed -n "s/^$name //p" "$baseline" 2>/dev/null || true)
	passed=$((passed + 1))
	if [[ -z $before ]]; then
		verdict='no baseline' failed=$((failed + 1))
	elif (( now * 100 > before * percent_max )); then
		verdict="MORE than the baseline of $before" failed=$((failed + 1))
	elif (( now * percent_max < before * 100 )); then
		verdict="less than the baseline of $before: update it"
	else
		verdict="as the baseline of $before"
	fi
	printf '%-18s %9d instructions, %s\n' "$name" "$now" "$verdict"
done < <("$counter")
if [[ ${1:-} == --update ]]; then
	cp "$scratch/now" "$baseline"
	failed=0
fi
echo "$((passed - failed)) passed, $failed failed, 0 skipped"
(( failed == 0 ))
