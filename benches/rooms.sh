#!/usr/bin/env bash
# What forwarding one media packet costs the server in CPU time, and how long it takes: Debian's
# janus and bifrons, in interleaved rounds of the same run. Fails when a packet at 50 subscribers
# costs bifrons more than a sixth of what it costs Janus, or its 99th percentile of the latency is
# more than a fifth.
#
#   benches/rooms.sh [--subscribers N,...] [--rooms N,...] [--rounds N] [--seconds S] [--ws]
#                    [--servers NAME,...] [any option of `bifrons-load rooms`]
#
# The servers are janus, bifrons-1 and bifrons-2, which has two shards. BIFRONS and LOAD name other
# binaries than those of the release build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

options=() required=() signalling=http wanted=janus,bifrons-1 sizes=(--subscribers 50)
while (( $# )); do
	case $1 in
	--help) sed -n '2,/^set/s/^# \?//p' "$0" | head -n -1; exit 0 ;;
	--ws) signalling=ws; shift ;;
	--servers) wanted=$2; shift 2 ;;
	--subscribers) sizes=("$1" "$2"); shift 2 ;;
	--require) required+=("$1" "$2"); shift 2 ;;
	*) options+=("$1"); shift ;;
	esac
done
if (( ! ${#required[@]} )) && [[ $wanted == janus,bifrons-1* && ${sizes[1]} == 50 ]]; then
	required=(--require 'bifrons-1<=janus*0.1667' --require 'p99:bifrons-1<=janus*0.2')
fi

source benches/servers.sh
for name in ${wanted//,/ }; do
	case $name in
	janus) start_janus || { echo 'rooms.sh: needs janus (apt-get install janus)' >&2; exit 2; } ;;
	bifrons-[0-9]*) start_bifrons "$name" "${name#bifrons-}" ;;
	*) echo "rooms.sh: no server $name" >&2; exit 2 ;;
	esac
done
# The clients of a real server are on other machines. Here they share its cores: as a batch job the
# generator takes its turn when a core is free, and does not interrupt the server at each packet.
turns=()
if command -v chrt >/dev/null; then turns=(chrt --batch 0); fi
"${turns[@]}" "$load" rooms "${servers[@]}" "${sizes[@]}" "${required[@]}" "${options[@]}"
