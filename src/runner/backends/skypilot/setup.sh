#!/usr/bin/env bash
# Prepare a machine that no image has prepared: an environment with the pinned packages, at ~/runner-environment.
# Runs on the machine, from the folder that holds this file, runner's source and the locks. The environment itself is
# below ~/.cache, named by its lock, so that a second run on the machine, or on a cluster that shares the folder, finds it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# On Slurm, SkyPilot gives each of its clusters a HOME of its own; the user's own is shared by all.
home=$(getent passwd "$(id -u)" 2> /dev/null | cut -d: -f6 || true)
[ -n "$home" ] && [ -w "$home" ] || home=$HOME
lock=cpu.lock
if command -v nvidia-smi > /dev/null && nvidia-smi --list-gpus > /dev/null 2>&1; then lock=cuda.lock; fi
environment=$home/.cache/runner/environments/${lock%.lock}-$(cat "$here/$lock" "$here/torch.lock" | sha256sum | cut -c1-16)
mkdir -p "$environment"
ln -sfn "$environment" ~/runner-environment

exec 9> "$environment.building"
# A machine that is paid for must not wait for ever: not for another one that died here, nor for an index that hangs.
flock --wait 5400 9 || { echo "runner: another machine has been building $environment for 90 minutes" >&2; exit 1; }
if [ -e "$environment/complete" ]; then
  echo "runner: the environment is there already: $environment"
  exit 0
fi

echo "runner: installing the packages of $lock into $environment (some minutes)"
uv=$(command -v uv || echo ~/.local/bin/uv) # SkyPilot has put it there
python=$(command -v python3.11 || command -v python3.12 || command -v python3.13 || true)
if ! { [ -n "$python" ] && "$python" -m venv "$environment" 2> /dev/null; }; then
  "$uv" venv --quiet --seed --allow-existing --python 3.11 "$environment"
fi
pip=(timeout --kill-after=60 5400 "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-input)
"${pip[@]}" --no-deps --require-hashes --requirement "$here/$lock"
if [ "$lock" = cpu.lock ]; then
  # The package index decides which build of torch there is for a CPU, and what that build needs besides.
  "${pip[@]}" --requirement "$here/torch.lock"
fi
touch "$environment/complete"
