#!/usr/bin/env bash
# The black-box suite for the Janus API, against the eight profiles of a gateway.
#
#   conformance.sh [BINARY]
#
# The suite is not part of this repository; BIFRONS_CONFORMANCE names its folder, and without that
# it is looked for in ../shared/conformance beside the checkout. The profiles are written here,
# with what the suite's README says of each, HTTP and WebSocket.
set -euo pipefail
area=conformance
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$@"

suite=${BIFRONS_CONFORMANCE:-$root/../shared/conformance}
profiles=(plain secret token hmac cors short strings events)

# The groups of the suite that need no other plugin than there is.
groups=('core/*' 'http/*' 'ws/*' 'auth/*' 'admin/*' 'events/*' 'echotest/*' 'media/echotest*')
# What a room does may depend on how many shards there are: run with several numbers of them.
room_groups=('videoroom/*' 'media/videoroom*' 'media/forwarding*')
groups+=("${room_groups[@]}")
# Those that attach to the video room, too, or look for it.
with_videoroom=(core/handles/several-handles core/handles/destroy-with-handles core/profiles/opaque-id-echoed core/requests/info
	auth/signed-tokens/plugin-not-listed auth/tokens/plugins-of-a-token admin/basics/message-plugin events/handlers/plugin-events)
# What Janus fails and this gateway must not.
beyond=(no-event-lost poll-ends-with-session origin-in-full empty-post refused-method-with-payload plain-host)

general_settings() {
	case $1 in
	secret) echo 'api_secret = "conformance-api-secret"' ;;
	token) echo 'token_auth = true' ;;
	hmac) printf '%s\n' 'token_auth = true' 'token_auth_secret = "conformance-hmac-key"' ;;
	short) printf '%s\n' 'session_timeout = 4' 'reclaim_session_timeout = 3' ;;
	strings) printf '%s\n' 'opaqueid_in_api = true' 'server_name = "conformance-strings"' ;;
	esac
}

# write_profile NAME HTTP_PORT ADMIN_PORT SINK_PORT WS_PORT ADMIN_WS_PORT
write_profile() {
	local name=$1 http=$2 admin=$3 sink=$4 ws=$5 admin_ws=$6 dir=$scratch/$1
	local strings=false broadcast=false locked='' cors='' plugin
	[[ $name == strings ]] && strings=true locked='admin_key = "conformance-plugin-admin"'
	[[ $name == events ]] && broadcast=true
	[[ $name == cors ]] && cors=$'allow_origin = "https://app.example"\n\tenforce_cors = true'
	mkdir -p "$dir/recordings"
	cat >"$dir/janus.jcfg" <<-CFG
	general: {
		debug_level = 4
		debug_colors = false
		interface = "127.0.0.1"
		admin_secret = "conformance-admin"
		$(general_settings "$name")
	}
	media: { ipv6 = false }
	nat: {
		ice_enforce_list = "127.0.0.1"
		full_trickle = $strings
	}
	plugins: { disable = "libjanus_sip.so,libjanus_nosip.so,libjanus_lua.so,libjanus_duktape.so,libjanus_voicemail.so" }
	transports: { disable = "libjanus_rabbitmq.so,libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so" }
	loggers: { disable = "libjanus_jsonlog.so" }
	events: {
		broadcast = $broadcast
		disable = "libjanus_gelfevh.so,libjanus_mqttevh.so,libjanus_nanomsgevh.so,libjanus_rabbitmqevh.so,libjanus_wsevh.so"
	}
	CFG
	cat >"$dir/janus.transport.http.jcfg" <<-CFG
	general: {
		json = "indented"
		base_path = "/janus"
		http = true
		port = $http
		ip = "127.0.0.1"
		https = false
	}
	admin: {
		admin_base_path = "/admin"
		admin_http = true
		admin_port = $admin
		admin_ip = "127.0.0.1"
		admin_https = false
	}
	cors: {
		$cors
	}
	CFG
	cat >"$dir/janus.transport.websockets.jcfg" <<-CFG
	general: {
		json = "indented"
		ws = true
		ws_port = $ws
		ws_ip = "127.0.0.1"
		wss = false
	}
	admin: {
		admin_ws = true
		admin_ws_port = $admin_ws
		admin_ws_ip = "127.0.0.1"
		admin_wss = false
	}
	CFG
	for plugin in videoroom audiobridge streaming textroom; do
		printf 'general: {\n\t%s\n\tstring_ids = %s\n}\n' "$locked" "$strings" >"$dir/janus.plugin.$plugin.jcfg"
	done
	echo "general: { path = \"$dir/recordings\" }" >"$dir/janus.plugin.recordplay.jcfg"
	: >"$dir/janus.plugin.echotest.jcfg"
	: >"$dir/janus.plugin.videocall.jcfg"
	cat >"$dir/janus.eventhandler.sampleevh.jcfg" <<-CFG
	general: {
		enabled = $broadcast
		events = "all"
		grouping = true
		json = "compact"
		backend = "http://127.0.0.1:$sink/"
	}
	CFG
}

# start_profiles SHARDS: each profile gets five TCP ports (HTTP, Admin, sink, WebSocket, Admin over
# WebSocket) and as many UDP ports.
start_profiles() {
	local shards=$1 name index=0 first http pid
	local -a preload=() flags=() entries=()
	first=$(free_ports $((5 * ${#profiles[@]})))
	is_janus && preload=(env "LD_PRELOAD=${JANUS_PRELOAD:-}")
	for name in "${profiles[@]}"; do
		http=$((first + 5 * index))
		is_janus || flags=(--media-port $((first + 5 * index)) --shards "$shards")
		write_profile "$name" "$http" $((http + 1)) $((http + 2)) $((http + 3)) $((http + 4))
		"${preload[@]}" "$binary" -F "$scratch/$name" -C "$scratch/$name/janus.jcfg" "${flags[@]}" \
			>"$scratch/$name/log" 2>&1 </dev/null &
		pid=$!
		pids+=("$pid")
		if wait_for "$pid" "$http" $((http + 3)); then
			ok "profile $name starts"
		else
			bad "profile $name starts" "$(tail -n 5 "$scratch/$name/log")"
		fi
		entries+=("\"$name\": {\"base\": \"http://127.0.0.1:$http/janus\", \"ws\": \"ws://127.0.0.1:$((http + 3))\", \"admin\": \"http://127.0.0.1:$((http + 1))/admin\", \"admin_ws\": \"ws://127.0.0.1:$((http + 4))\", \"sink\": $((http + 2))}")
		index=$((index + 1))
	done
	local IFS=,
	echo "{${entries[*]}}" >"$scratch/targets.json"
}

# listed PATTERN...: `--only` for each scenario that fits, over every transport that it runs over
listed() {
	"$python" -B "$suite/run.py" --list "${@/#/--only=}" | awk '{ print "--only=" $1 }'
}

# without_videoroom NAME: whether the scenario needs a plugin that the gateway says it has not
without_videoroom() {
	[[ $plugins != *janus.plugin.videoroom* && " ${with_videoroom[*]} " == *" ${1%@*} "* ]]
}

# run_suite TITLE ARGUMENTS...: counts the scenarios of one run of the suite
run_suite() {
	local title=$1 out summary
	shift
	out=$scratch/$title.out
	"$python" -B "$suite/run.py" --targets "$scratch/targets.json" "$@" >"$out" 2>&1 || true
	summary=$(grep -oE '[0-9]+ passed, [0-9]+ failed.*' "$out" | tail -n 1)
	if [[ -z $summary ]]; then
		bad "$title" "$(tail -n 5 "$out")"
		return
	fi
	awk '/^ *(PASS|SKIP)/ { show = 0 } /^ *FAIL/ { show = 1 } /passed, / { show = 0 } show { print "        " $0 }' "$out"
	passed=$((passed + $(grep -oE '^[0-9]+ passed' <<<"$summary" | cut -d' ' -f1)))
	failed=$((failed + $(grep -oE '[0-9]+ failed' <<<"$summary" | cut -d' ' -f1)))
	skipped=$((skipped + $(grep -oE '[0-9]+ skipped' <<<"$summary" | cut -d' ' -f1 || echo 0)))
	echo "note  $area: $title: $summary"
}

if [[ ! -e $suite/run.py ]]; then
	skip suite "no suite in $suite; name its folder in BIFRONS_CONFORMANCE"
	finish
	exit
fi
python=$("$here/python.sh") || { skip suite 'the Python packages that it needs cannot be installed'; finish; exit; }
start_profiles 2
plugins=$("$python" -c 'import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read())' \
	"$(sed -E 's/.*"plain": \{"base": "([^"]*)".*/\1/' "$scratch/targets.json")/info")
only=()
for option in $(listed "${groups[@]}"); do
	if without_videoroom "${option#--only=}"; then
		skip "${option#--only=}" 'the gateway has no video room'
	else
		only+=("$option")
	fi
done
run_suite scenarios "${only[@]}"
[[ ${BIFRONS_ALL_GROUPS:-} ]] && run_suite shards --scenarios "$here/scenarios"
is_janus || run_suite beyond --scenarios "$suite/beyond" "${beyond[@]/#/--only=*/}"
stop_all
if [[ $plugins == *janus.plugin.videoroom* ]] && ! is_janus; then
	profiles=(plain strings)
	mapfile -t only < <(listed "${room_groups[@]}")
	for shards in 1 4; do
		start_profiles "$shards"
		run_suite "rooms-on-$shards" "${only[@]}"
		stop_all
	done
fi
finish
