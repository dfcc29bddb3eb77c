#!/usr/bin/env bash
# Prints a Python that has the packages of requirements.txt: the system's where it has them, else
# one of an environment below the build folder, which is made at the first call.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$here/../../target/e2e/venv

has_packages() { "$1" -c 'import aiohttp, aiortc, kosoku, websockets, yaml' 2>/dev/null; }

for python in python3 "$venv/bin/python"; do
	has_packages "$python" && { command -v "$python"; exit; }
done
python3 -m venv "$venv" >&2
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
has_packages "$venv/bin/python"
echo "$venv/bin/python"
