#!/usr/bin/env bash
# Install W&B's package for sweeps, which wants an older numpy than ours, into .venv-wandb-sweeps at the repository's root.
# Does nothing when what requirements.lock names is there already. PYTHON names the interpreter (3.11 or newer).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../../.." && pwd)
environment=$root/.venv-wandb-sweeps
stamp=$environment/installed.lock # a copy of the lock, written last: no copy, not installed

if cmp --silent "$here/requirements.lock" "$stamp"; then
  exit 0
fi
echo "installing W&B's package for sweeps into .venv-wandb-sweeps" >&2
rm -rf "$environment"
"${PYTHON:-python3}" -m venv "$environment"
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
  --requirement "$here/requirements.lock"
"$environment/bin/python" -m pip check --quiet --disable-pip-version-check
cp "$here/requirements.lock" "$stamp"
