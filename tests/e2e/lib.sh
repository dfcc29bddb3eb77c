# Shared by the shell programs of this folder: counting checks, starting and ending servers.
# shellcheck shell=bash

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
scratch=$(mkdir -p "$root/target/e2e" && mktemp -d "$root/target/e2e/run-XXXXXX")
binary=${1:-${BIFRONS:-$root/target/release/bifrons}}
passed=0 failed=0 skipped=0
pids=()

ok() { passed=$((passed + 1)); echo "ok    $area: $1"; }
bad() { failed=$((failed + 1)); echo "FAIL  $area: $1"; shift; printf '        %s\n' "$@"; }
skip() { skipped=$((skipped + 1)); echo "skip  $area: $1: $2"; }
finish() {
	echo "$passed passed, $failed failed, $skipped skipped"
	(( failed == 0 ))
}

# left: whether one of our processes is still there
left() {
	local pid
	for pid in "${pids[@]}"; do kill -0 "$pid" 2>/dev/null && return; done
	return 1
}

# Ends what this program started, and nothing else. The second signal, a second after the first,
# tells a gateway to drain no longer.
stop_all() {
	local pid signal
	for signal in TERM TERM KILL; do
		for pid in "${pids[@]}"; do kill -"$signal" "$pid" 2>/dev/null || true; done
		for _ in {1..20}; do
			left || break 2
			sleep 0.1
		done
	done
	pids=()
}
trap stop_all EXIT

is_janus() { [[ $(basename "$binary") == janus ]]; }

listening() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# wait_for PID PORT...: until the process accepts connections on all of them
wait_for() {
	local pid=$1 port
	shift
	for port; do
		for _ in {1..150}; do
			kill -0 "$pid" 2>/dev/null || return 1
			listening "$port" && continue 2
			sleep 0.1
		done
		return 1
	done
}

# free_ports COUNT: that many free TCP ports in a row, below the range the system hands out
free_ports() {
	local first port taken
	for _ in {1..50}; do
		first=$((15000 + RANDOM % 15000)) taken=0
		for ((port = first; port < first + $1; port++)); do listening "$port" && taken=1; done
		(( taken )) || { echo "$first"; return; }
	done
	return 1
}
