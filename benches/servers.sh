# Servers to measure, on loopback, each on a free port and ended when the script ends. To be
# sourced in the repository's root: leaves `servers` (options for bifrons-load) and `load`.
# `signalling` says by what the API is reached: http, or ws; `launcher` by what bifrons is started.

bifrons=${BIFRONS:-target/release/bifrons}
load=${LOAD:-target/release/bifrons-load}
signalling=${signalling:-http}
launcher=()
servers=() pids=()
scratch=$(mktemp -d)

stop_servers() {
	local pid
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
	for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
	rm -rf "$scratch"
}
trap stop_servers EXIT

build_if_missing() {
	[[ -x $bifrons && -x $load ]] || cargo build --release --package bifrons --package bifrons-load >&2
}
build_if_missing

listening() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# A port below those that the system hands out, on which nobody listens.
free_port() {
	local port
	while port=$((20000 + RANDOM % 10000)); listening "$port"; do :; done
	echo "$port"
}

# started NAME PID PORT: waits until it listens, and notes it
started() {
	local name=$1 pid=$2 port=$3
	pids+=("$pid")
	for _ in {1..100}; do
		if listening "$port"; then
			local path=/janus
			[[ $signalling == ws ]] && path=/
			servers+=(--server "$name=$signalling://127.0.0.1:$port$path,$pid")
			return
		fi
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.1
	done
	echo "$name did not come up:" >&2
	tail -n 20 "$scratch/$name.log" >&2
	exit 2
}

# start_bifrons NAME SHARDS [OPTION...]
start_bifrons() {
	local name=$1 shards=$2 port
	shift 2
	port=$(free_port)
	cat >"$scratch/$name.toml" <<-CFG
	shards = $shards
	[http]
	enabled = $([[ $signalling == http ]] && echo true || echo false)
	bind = ["127.0.0.1:$port"]
	[admin]
	enabled = false
	[ws]
	enabled = $([[ $signalling == ws ]] && echo true || echo false)
	bind = ["127.0.0.1:$port"]
	[media]
	ips = ["127.0.0.1"]
	[limits]
	connections_count = 20000
	connections_source_count = 20000
	CFG
	"${launcher[@]}" "$bifrons" --config "$scratch/$name.toml" "$@" >"$scratch/$name.log" 2>&1 </dev/null &
	started "$name" $! "$port"
}

# start_janus: on loopback, its log as quiet as ours. It crashes at its start without HTTP.
start_janus() {
	command -v janus >/dev/null || return 1
	local port http out=$scratch/janus shim=()
	port=$(free_port) http=$port
	[[ $signalling == http ]] || http=$(free_port)
	mkdir "$out"
	# Its ICE agent leaves loopback out, without which no media can be measured here.
	if cc -shared -fPIC -O1 -o "$out/loopback_ice.so" benches/loopback_ice.c -ldl; then
		shim=(env "LD_PRELOAD=$out/loopback_ice.so")
	fi
	cat >"$out/janus.jcfg" <<-CFG
	general: { debug_level = 2, debug_colors = false, interface = "127.0.0.1" }
	media: { ipv6 = false }
	nat: { ice_enforce_list = "127.0.0.1" }
	plugins: { disable = "libjanus_sip.so,libjanus_nosip.so,libjanus_lua.so,libjanus_duktape.so,libjanus_voicemail.so" }
	transports: { disable = "libjanus_rabbitmq.so,libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so" }
	loggers: { disable = "libjanus_jsonlog.so" }
	events: { broadcast = false }
	CFG
	cat >"$out/janus.transport.http.jcfg" <<-CFG
	general: { json = "compact", base_path = "/janus", http = true, port = $http, ip = "127.0.0.1", https = false }
	admin: { admin_http = false }
	CFG
	cat >"$out/janus.transport.websockets.jcfg" <<-CFG
	general: { json = "compact", ws = $([[ $signalling == ws ]] && echo true || echo false), ws_port = $port, ws_ip = "127.0.0.1", wss = false }
	admin: { admin_ws = false }
	CFG
	(ulimit -c 0 && exec "${shim[@]}" janus -F "$out" -C "$out/janus.jcfg") >"$scratch/janus.log" 2>&1 </dev/null &
	started janus $! "$port"
}

# start_nginx: one worker, a constant, no log. It is the worker that is measured.
start_nginx() {
	command -v nginx >/dev/null || return 1
	local port worker
	port=$(free_port)
	cat >"$scratch/nginx.conf" <<-CFG
	daemon off;
	worker_processes 1;
	error_log $scratch/nginx-error.log;
	pid $scratch/nginx.pid;
	events { worker_connections 1024; }
	http {
		access_log off;
		keepalive_requests 1000000000;
		client_body_temp_path $scratch/body;
		proxy_temp_path $scratch/proxy;
		fastcgi_temp_path $scratch/fastcgi;
		uwsgi_temp_path $scratch/uwsgi;
		scgi_temp_path $scratch/scgi;
		server {
			listen 127.0.0.1:$port;
			location / {
				default_type application/json;
				return 200 '{"janus":"pong","transaction":"bench"}';
			}
		}
	}
	CFG
	nginx -c "$scratch/nginx.conf" >"$scratch/nginx.log" 2>&1 </dev/null &
	pids+=($!)
	local master=$!
	for _ in {1..100}; do
		worker=$(cat "/proc/$master/task/$master/children" 2>/dev/null | tr -d ' ')
		[[ -n $worker ]] && listening "$port" && break
		sleep 0.1
	done
	servers+=(--server "nginx=http://127.0.0.1:$port/janus,$worker")
}
