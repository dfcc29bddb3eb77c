#!/usr/bin/env bash
# Counts the instructions of the hot paths, and holds them against benches/instructions.txt. Fails
# when one needs more than a twentieth above its baseline. The count hardly depends on the machine
# and its load; it does on the compiler, so a new one may need a new baseline.
#
#   benches/instructions.sh            compares
#   benches/instructions.sh --update   writes the baseline
#
# Needs valgrind. Takes about half a minute, building aside.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
baseline=benches/instructions.txt
percent_max=105

command -v valgrind >/dev/null || { echo 'instructions.sh: skipped, needs valgrind' >&2; exit 0; }
cargo build --quiet --release --package bifrons-load --example instructions
counter=${CARGO_TARGET_DIR:-target}/release/examples/instructions
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Counted twice with different rounds, so that what comes once cancels out.
count() {
	valgrind --tool=callgrind --toggle-collect='*::measured' --callgrind-out-file=/dev/null \
		"$counter" "$1" "$2" 2>&1 >/dev/null | sed -n 's/.*Collected : //p'
}

status=0
while read -r name operations; do
	few=$(count "$name" 20) many=$(count "$name" 220)
	now=$(( (many - few) / (200 * operations) ))
	echo "$name $now" >>"$scratch/now"
	before=$(sed -n "s/^$name //p" "$baseline" 2>/dev/null || true)
	if [[ -z $before ]]; then
		verdict='no baseline'
		[[ ${1:-} == --update ]] || status=1
	elif (( now * 100 > before * percent_max )); then
		verdict="MORE than the baseline of $before"
		[[ ${1:-} == --update ]] || status=1
	elif (( now * percent_max < before * 100 )); then
		verdict="less than the baseline of $before: update it"
	else
		verdict="as the baseline of $before"
	fi
	printf '%-18s %9d instructions, %s\n' "$name" "$now" "$verdict"
done < <("$counter")
if [[ ${1:-} == --update ]]; then cp "$scratch/now" "$baseline"; fi
exit "$status"
