#!/usr/bin/env bash
# Install SkyPilot, with runner's command line beside it (the extra `sky`), into .venv-sky at the repository's root.
# Does nothing when what requirements.lock names is there already. PYTHON names the interpreter (3.11 or newer).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
environment=$root/.venv-sky
stamp=$environment/installed.lock # a copy of the lock, written last: no copy, not installed

if cmp --silent "$here/requirements.lock" "$stamp"; then
  exit 0
fi
echo "installing SkyPilot into .venv-sky" >&2
rm -rf "$environment"
"${PYTHON:-python3}" -m venv "$environment"
pip=("$environment/bin/python" -m pip)
"${pip[@]}" install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement "$here/requirements.lock"
"${pip[@]}" install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable "$root"
"${pip[@]}" check --quiet --disable-pip-version-check
# SkyPilot's server finds the plugin of the tests.
echo "$here/plugins" > "$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/runner_offline.pth"
cp "$here/requirements.lock" "$stamp"
