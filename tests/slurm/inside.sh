#!/usr/bin/env bash
# Run a command where there is no network but loopback: `inside.sh COMMAND…`, as root. SkyPilot's daemons on the nodes listen
# on all addresses and its server asks the world whether it is up; here neither reaches anything.
set -euo pipefail
# Slurm looks addresses up with AI_ADDRCONFIG, which finds nothing where loopback's are the only ones: one for documentation.
# shellcheck disable=SC2016  # for the inner shell
exec unshare --net -- bash -c 'ip link set lo up; ip addr add 192.0.2.1/32 dev lo; exec "$@"' inside "$@"
