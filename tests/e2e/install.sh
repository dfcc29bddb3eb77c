#!/usr/bin/env bash
# Installs what the end-to-end tests need and this machine lacks; quick where all is there. What
# cannot be installed is left out: the tests that need it say so and are skipped.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

missing=()
want() { command -v "$1" >/dev/null || missing+=("${2:-$1}"); }
want nginx
want haproxy
want chromium
want ffmpeg
want tshark
want unshare util-linux
want ip iproute2
want janus-pp-rec janus-tools
[[ -f /usr/share/janus/demos/videoroomtest.html ]] || missing+=(janus-demos)
want janus # for its sample files; the tests can also be tried out against it
want cc gcc
want node nodejs
want npm
want python3
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
if (( ${#missing[@]} )) && command -v apt-get >/dev/null; then
	echo "installing ${missing[*]}"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq
	for package in "${missing[@]}"; do
		apt-get install -y -qq --no-install-recommends "$package" >/dev/null || echo "could not install $package"
	done
fi

# npm_install FOLDER: its packages, unless they are there already in the wanted versions
npm_install() {
	cmp -s "$1/package-lock.json" "$1/node_modules/.installed" && return
	if (cd "$1" && npm ci --no-progress --loglevel=error); then
		cp "$1/package-lock.json" "$1/node_modules/.installed"
	else
		echo "could not install the npm packages of $1"
	fi
}
npm_install "$here"
npm_install "$here/../../examples"
"$here/python.sh" >/dev/null || echo 'could not install the Python packages'
