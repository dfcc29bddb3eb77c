#!/usr/bin/env bash
# What a short session costs the server in CPU time: created, attached, asked for a room, ended, over
# 64 connections at once. Debian's janus and bifrons with one and two shards take turns.
#
#   benches/storm.sh [any option of `bifrons-load storm`]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source benches/servers.sh
start_janus || echo 'storm.sh: no janus here, it is left out' >&2
start_bifrons bifrons-1 1
start_bifrons bifrons-2 2
"$load" storm "${servers[@]}" "$@"
