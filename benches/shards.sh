#!/usr/bin/env bash
# What a second shard is worth to rooms that have nothing to do with each other: bifrons with one
# and with two shards in interleaved rounds, each pinned to the first core and overloaded, the
# generator on the second one. Fails when a packet costs two shards more than 10/9 of what it costs
# one, which is where twice the cores forward less than 1.8 times as much.
#
#   benches/shards.sh [--rooms N] [--rounds N] [--seconds S] [any option of `bifrons-load rooms`]
#   benches/shards.sh --spread [the same]
#
# With --spread it is one room, which two shards share, each on a core of its own, beside one shard on
# the first core; the generator stays on the second one. Fails when a packet costs two shards more than
# 1.15 times of what it costs one.
#
# Needs two cores that nobody else uses, and taskset; ends with 3 when a server did not have its
# core for itself, or was not busy with it. A core that is full forwards 1 s / (CPU time a packet) packets a
# second; two shards that share it show what their mesh, their wake-ups and their smaller batches
# cost. What two cores do to each other's caches and memory does not show, nor does a core that
# idles while the other has the work.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

options=() rooms=16 rate=4000 spread=
while (( $# )); do
	case $1 in
	--help) sed -n '2,/^set/s/^# \?//p' "$0" | head -n -1; exit 0 ;;
	--rooms) rooms=$2; shift 2 ;;
	--rate) rate=$2; shift 2 ;;
	--spread) spread=1; shift ;;
	*) options+=("$1"); shift ;;
	esac
done
if ! command -v taskset >/dev/null || (( $(nproc) < 2 )); then
	echo 'shards.sh: needs taskset and two cores' >&2
	exit 2
fi

source benches/servers.sh
launcher=(taskset -c 0)
start_bifrons shards-1 1
if [[ $spread ]]; then
	launcher=()
	start_bifrons shards-2 2
	turns=()
	if command -v chrt >/dev/null; then turns=(chrt --batch 0); fi
	"${turns[@]}" taskset -c 1 "$load" rooms "${servers[@]}" --subscribers 50,100,200 \
		--require 'shards-2<=shards-1*1.15' "${options[@]}"
	exit
fi
start_bifrons shards-2 2
status=0
taskset -c 1 "$load" rooms "${servers[@]}" --rooms "$rooms" --subscribers 10 --rate "$rate" \
	--require 'shards-2<=shards-1*1.111' --output "$scratch/report.json" "${options[@]}" || status=$?
# Two threads get twice the share of one where others want the core, too; and where it is not full,
# one shard sleeps and wakes more often than two.
least=$(sed -n 's/.*"cpu_share": \([0-9.]*\).*/\1/p' "$scratch/report.json" | sort -g | head -n 1)
if awk "BEGIN { exit !(${least:-0} < 0.85) }"; then
	echo "shards.sh: not conclusive, a server had but $least of its core" >&2
	exit 3
fi
exit "$status"
