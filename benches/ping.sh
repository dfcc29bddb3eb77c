#!/usr/bin/env bash
# What one ping over a connection that is kept alive costs the server in CPU time: bifrons with one
# and two shards, Debian's janus, and nginx answering with a constant, in interleaved rounds.
# Fails when a ping costs one shard more than a seventh of what it costs Janus, or more than nginx, or
# two shards more than a quarter.
#
#   benches/ping.sh [--rounds N] [--seconds S] [--connections N] [--require A<=B*FACTOR]... [--json]
#
# BIFRONS and LOAD name other binaries than those of the release build. A server that is not
# installed is left out, and said so; without janus there is nothing to hold against.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source benches/servers.sh

options=() required=()
while (( $# )); do
	case $1 in
	--require) required+=(--require "$2"); shift 2 ;;
	--rounds | --seconds | --connections) options+=("$1" "$2"); shift 2 ;;
	--json) options+=("$1"); shift ;;
	*) sed -n '2,/^set/s/^# \?//p' "$0" | head -n -1 >&2; exit 2 ;;
	esac
done
if (( ! ${#required[@]} )); then
	required=(--require 'bifrons-1<=janus*0.1429' --require 'bifrons-2<=janus*0.25')
	if command -v nginx >/dev/null; then required+=(--require 'bifrons-1<=nginx*1'); fi
fi

start_janus || { echo 'ping.sh: needs janus (apt-get install janus)' >&2; exit 2; }
start_bifrons bifrons-1 1
start_bifrons bifrons-2 2
start_nginx || echo 'ping.sh: no nginx here, it is left out' >&2
"$load" compare "${servers[@]}" "${required[@]}" "${options[@]}"
