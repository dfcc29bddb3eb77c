#!/usr/bin/env bash
# Idle long polls by the thousand on one gateway with one shard, and pings beside them: what a poll
# costs in memory and CPU, and whether all end with a complete keepalive.
#
#   benches/polls.sh [COUNT...]        1000 10000 19000 if none is named
#
# Server and generator need a descriptor for each poll; what is beyond the limit is left out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source benches/servers.sh
ulimit -n "$(ulimit -Hn)"

status=0
(( $# )) || set -- 1000 10000 19000
for count; do
	if (( count + 200 > $(ulimit -n) )); then
		echo "polls.sh: $count polls are beyond the limit of $(ulimit -n) descriptors" >&2
		continue
	fi
	servers=()
	start_bifrons "bifrons-$count" 1
	"$load" polls "${servers[1]}" --polls "$count" || status=1
done
exit "$status"
