#!/usr/bin/env bash
# All end-to-end tests against one binary, with one summary: run.sh [BINARY]
#
# Each part is a program that closes with `N passed, N failed, N skipped`. What mostly waits runs
# side by side; what measures times runs alone.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
binary=$(realpath "${1:-${BIFRONS:-$here/../../target/release/bifrons}}")
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
passed=0 failed=0 skipped=0

if [[ ! -x $binary ]]; then
	echo "FAIL  there is no $binary: build it with \`cargo build --release\`"
	echo '0 passed, 1 failed, 0 skipped'
	exit 1
fi
"$here/install.sh"
cd "$here" || exit 1
rm -rf ../../target/e2e/run-*

# start NAME COMMAND...: begins a part in the background
declare -A running=()
start() {
	local name=$1
	shift
	timeout --kill-after=10 300 "$@" >"$logs/$name" 2>&1 </dev/null &
	running[$name]=$!
}

# finish NAME...: waits for parts, shows what they said and counts it
finish() {
	local name status summary
	for name; do
		wait "${running[$name]}"
		status=$?
		echo "== $name"
		cat "$logs/$name"
		summary=$(tail -n 1 "$logs/$name")
		if [[ $summary =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
			passed=$((passed + BASH_REMATCH[1]))
			failed=$((failed + BASH_REMATCH[2]))
			skipped=$((skipped + BASH_REMATCH[3]))
			(( status == 0 || BASH_REMATCH[2] > 0 )) && continue
		fi
		failed=$((failed + 1))
		echo "FAIL  $name ended with status $status"
	done
}

# A part that cannot run for want of something, which it names.
without() {
	echo "skip  $1: $2 is not here and cannot be installed"
	skipped=$((skipped + 1))
}

if ! command -v node >/dev/null; then
	without 'all parts but conformance' node
	start conformance ./conformance.sh "$binary"
	finish conformance
else
	start conformance ./conformance.sh "$binary"
	start clock node clock.mjs "$binary"
	start startup node startup.mjs "$binary"
	start frames node frames.mjs "$binary"
	finish conformance clock startup frames
	start autobahn node autobahn.mjs "$binary"
	start events node events.mjs "$binary"
	finish autobahn events
	start claims node claims.mjs "$binary"
	start admin node admin.mjs "$binary"
	finish claims admin
	if [[ -x /usr/bin/chromium && -d node_modules/playwright-core && -d ../../examples/node_modules/janus-gateway ]]; then
		start browser node browser.mjs "$binary"
		finish browser
		start faulty-front node faulty_front.mjs "$binary"
		start echotest node echotest.mjs "$binary"
		start websocket node websocket.mjs "$binary"
		finish faulty-front echotest websocket
		start event-stream node event_stream.mjs "$binary"
		start aiortc node aiortc.mjs "$binary"
		start delivery node delivery.mjs "$binary"
		finish event-stream aiortc delivery
		start capture node capture.mjs "$binary"
		finish capture
		start videoroom node videoroom.mjs "$binary"
		finish videoroom
		start svc node svc.mjs "$binary"
		finish svc
		start narrow-link node narrow_link.mjs "$binary"
		finish narrow-link
		start cascade node cascade.mjs "$binary"
		finish cascade
		start demos node demos.mjs "$binary"
		finish demos
		start recordings node recordings.mjs "$binary"
		finish recordings
		start timeline node timeline.mjs
		finish timeline
	else
		without 'browser, faulty front, echotest, WebSocket, event stream, VideoRoom, timeline of the simulator' 'chromium, playwright-core or janus-gateway'
		start aiortc node aiortc.mjs "$binary"
		start delivery node delivery.mjs "$binary"
		finish aiortc delivery
	fi
	start idle-polls node idle_polls.mjs "$binary"
	finish idle-polls
fi

echo "$passed passed, $failed failed, $skipped skipped"
(( failed == 0 ))
