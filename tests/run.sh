#!/usr/bin/env bash
# Every test there is: formatting, lints, the library alone, the Rust tests, and the end-to-end
# tests against the release binary. Closes with one count of all of them.
#
#   tests/run.sh            all of it
#   tests/run.sh --quick    without the end-to-end tests
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
passed=0 failed=0 skipped=0
out=$(mktemp)
trap 'rm -f "$out"' EXIT

# within MINUTES COMMAND...: a command that hangs is ended, and has failed
within() {
	timeout --kill-after=10 "$1m" "${@:2}"
}

# step TITLE MINUTES COMMAND...: one check, which is the command's exit status
step() {
	local title=$1 minutes=$2 began=$SECONDS
	shift 2
	echo "== $title"
	if within "$minutes" "$@"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAIL  $title"
	fi
	echo "   ($((SECONDS - began)) s)"
}

# counted TITLE MINUTES COMMAND...: a command that counts checks itself, as cargo test and run.sh do
counted() {
	local title=$1 minutes=$2 before=$failed began=$SECONDS status line
	shift 2
	echo "== $title"
	within "$minutes" "$@" 2>&1 | tee "$out"
	status=${PIPESTATUS[0]}
	while read -r line; do
		if [[ $line =~ ([0-9]+)\ passed\;\ ([0-9]+)\ failed\;\ ([0-9]+)\ ignored ||
			$line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
			passed=$((passed + BASH_REMATCH[1]))
			failed=$((failed + BASH_REMATCH[2]))
			skipped=$((skipped + BASH_REMATCH[3]))
		fi
	done < <(grep -E '^test result: ' "$out" || tail -n 1 "$out")
	if (( status != 0 && failed == before )); then
		failed=$((failed + 1))
		echo "FAIL  $title (status $status)"
	fi
	echo "   ($((SECONDS - began)) s)"
}

step 'formatting' 1 cargo fmt --all --check
step 'lints' 15 cargo clippy --quiet --workspace --all-targets -- -D warnings
step 'lints of the simulator' 15 cargo clippy --quiet -p bifrons-sim --all-targets --features kernel,mutants -- -D warnings
step 'library without a runtime' 10 cargo check --quiet --no-default-features --lib
counted 'rust tests' 20 cargo test --quiet --workspace
[[ ${1:-} == --quick ]] || step 'simulator' 20 tests/sim.sh
step 'release build' 20 cargo build --quiet --release --bins --example websocket_echo
counted 'instructions of the hot paths' 25 benches/instructions.sh
[[ ${1:-} == --quick ]] || counted 'end-to-end tests' 30 tests/e2e/run.sh target/release/bifrons

echo "$passed passed, $failed failed, $skipped skipped"
(( failed == 0 ))
