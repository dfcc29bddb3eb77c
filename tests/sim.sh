#!/usr/bin/env bash
# The simulator's share of the tests: seeds, determinism across builds, and the known bugs.
#
#   tests/sim.sh                as the tests run it, some minutes on two cores
#   SEEDS=200000 tests/sim.sh   the long version, for nights
#
# Half of the seeds are always the same; the others follow from the commit, so that each commit
# explores anew and is still reproducible.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
seeds=${SEEDS:-12000}
sim=target/sim/bifrons-sim
passed=0 failed=0

# try TITLE COMMAND...: one check, which is the command's exit status
try() {
	local title=$1
	shift
	if "$@"; then
		passed=$((passed + 1))
		echo "ok    simulator: $title"
	else
		failed=$((failed + 1))
		echo "FAIL  simulator: $title (status $?): $*"
	fi
}

# One build for all: no mutant is on unless it is named.
cargo build --quiet --profile sim -p bifrons-sim --features mutants || exit 1
cargo build --quiet -p bifrons-sim || exit 1
commit=$(git rev-parse HEAD 2>/dev/null || echo 0)
from=$((16#${commit:0:8}))
try 'fixed seeds' "$sim" run --seeds $((seeds / 2)) --jobs "$(nproc)"
try "seeds of commit ${commit:0:8}" "$sim" run --seeds $((seeds / 2)) --from "$from" --jobs "$(nproc)"
try 'two processes and two builds agree' "$sim" determinism --seeds 200 --against target/debug/bifrons-sim
try 'every known bug is found' "$sim" mutants --seeds 4000
echo "$passed passed, $failed failed, 0 skipped"
(( failed == 0 ))
