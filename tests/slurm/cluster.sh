#!/usr/bin/env bash
# A real Slurm on this one machine, for SkyPilot to drive: three nodes with pretended GPUs, and an ssh server to reach them.
#
#   cluster.sh install SETUP   with a network: Debian's packages, a user for the jobs, and all that the nodes will need,
#                              with runner's own setup.sh from the folder SETUP; as root, on Debian 12
#   cluster.sh up              start the daemons, without a network (see inside.sh)
#   cluster.sh down            stop them
#
# node1 and node3 have two T4 each, node2 four A100: gres on /dev/tty, which exist everywhere. All are daemons on this
# host, each in a UTS namespace of its own (SkyPilot tells nodes apart by their names) and a mount namespace of its own
# (its scratch folder is the node's). Everything but the packages, one user and lines in /etc/hosts is in $BASE.
set -euo pipefail

BASE=${BASE:-/srv/runner-slurm}
CLUSTER=${CLUSTER:-testbed} # as in --infra slurm/testbed
JOBS_USER=${JOBS_USER:-runner-jobs}
SSH_PORT=${SSH_PORT:-18122} CONTROLLER_PORT=${CONTROLLER_PORT:-16917} NODE_PORT=${NODE_PORT:-16950}
SKYPILOT=${SKYPILOT:-0.14.1}
PIP_CONF=$BASE/pip.conf
export SLURM_CONF=$BASE/slurm.conf

alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2> /dev/null; }

down() {
  local file
  for file in "$BASE"/run/slurmd.node*.pid "$BASE"/run/slurmctld.pid "$BASE"/munge/munged.pid "$BASE"/run/sshd.pid; do
    if alive "$file"; then kill "$(cat "$file")"; fi
  done
  rm -f "$BASE"/run/*.pid
}

packages() {
  local program
  for program in slurmctld munged sshd rsync ip; do
    if ! PATH=$PATH:/usr/sbin:/sbin command -v "$program" > /dev/null; then
      apt-get update -qq
      DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \
        slurm-wlm munge openssh-server rsync python3-venv procps iproute2 > /dev/null
      return
    fi
  done
}

accounts() {
  mkdir -p "$BASE"/{run,log,spool,state,bin,munge} /run/sshd
  chmod 755 "$BASE" "$BASE"/{run,log,spool,state,bin}
  id "$JOBS_USER" > /dev/null 2>&1 || useradd --create-home --home-dir "$BASE/home" --shell /bin/bash "$JOBS_USER"
  usermod --password '*' "$JOBS_USER" # sshd without PAM refuses an account that is locked with `!`
  install -d -o munge -g munge -m 700 "$BASE/munge"
  if [ ! -s "$BASE/munge/key" ]; then
    head -c 128 /dev/urandom > "$BASE/munge/key"
    chown munge:munge "$BASE/munge/key"
    chmod 400 "$BASE/munge/key"
  fi
  [ -s "$BASE/hostkey" ] || ssh-keygen -q -t ed25519 -N '' -f "$BASE/hostkey"
  [ -s "$BASE/userkey" ] || ssh-keygen -q -t ed25519 -N '' -f "$BASE/userkey"
  install -d -o "$JOBS_USER" -g "$JOBS_USER" -m 700 "$BASE/home/.ssh"
  install -o "$JOBS_USER" -g "$JOBS_USER" -m 600 "$BASE/userkey.pub" "$BASE/home/.ssh/authorized_keys"
  local name address
  while read -r address name; do
    grep -qE "[[:space:]]$name([[:space:]]|\$)" /etc/hosts || echo "$address $name" >> /etc/hosts
  done << 'HOSTS'
127.0.1.1 node1
127.0.1.2 node2
127.0.1.3 node3
127.0.0.1 slurm-head
HOSTS
}

# The jobs' user installs from where this machine's pip does.
package_index() {
  python3 - "$PIP_CONF" << 'PY'
import subprocess
import sys

wanted = ("index-url", "extra-index-url", "find-links", "cert", "trusted-host")
found = {}
for line in subprocess.run(["pip", "config", "list"], capture_output=True, text=True).stdout.splitlines():
    name, _, value = line.partition("=")
    key = name.rpartition(".")[2]
    if key in wanted:
        found[key] = value.strip("'\"")
with open(sys.argv[1], "w") as file:
    file.write("[global]\n" + "".join(f"{key} = {value}\n" for key, value in found.items()))
PY
  chmod 644 "$PIP_CONF"
}

# SkyPilot wants uv on each machine (and would fetch it), and Python 3.10 from it: this host's own will do.
uv_for_nodes() {
  if [ ! -x "$BASE/uv/bin/uv" ]; then
    /usr/bin/python3 -m venv "$BASE/uv"
    PIP_CONFIG_FILE=$PIP_CONF "$BASE/uv/bin/pip" install --quiet --disable-pip-version-check uv
  fi
  local index
  index=$(sed -n 's/^index-url = //p' "$PIP_CONF")
  cat > "$BASE/bin/uv" << UV
#!/usr/bin/env bash
export UV_PYTHON_DOWNLOADS=never UV_NATIVE_TLS=1 SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
export ${index:+UV_DEFAULT_INDEX=$index} UV_OFFLINE=\${UV_OFFLINE:-1} # all is in its cache, by then
words=("\$@")
for i in "\${!words[@]}"; do
  if [ "\${words[\$i]}" = --python ] && [ "\${words[\$((i + 1))]:-}" = 3.10 ]; then words[\$((i + 1))]=/usr/bin/python3; fi
done
exec $BASE/uv/bin/uv "\${words[@]}"
UV
  # Slurm runs this as the job's user before each of its steps; what it prints is put into the step's environment.
  cat > "$BASE/bin/prolog.sh" << PROLOG
#!/usr/bin/env bash
echo "export PIP_CONFIG_FILE=$PIP_CONF"
for folder in $BASE/home/.sky_clusters/*/; do
  [ -d "\$folder" ] && mkdir -p "\$folder/.local/bin" && ln -sfn $BASE/bin/uv "\$folder/.local/bin/uv"
done > /dev/null 2>&1
exit 0
PROLOG
  chmod 755 "$BASE/bin/uv" "$BASE/bin/prolog.sh"
}

configuration() {
  cat > "$SLURM_CONF" << CONF
ClusterName=$CLUSTER
SlurmctldHost=slurm-head(127.0.0.1)
SlurmctldPort=$CONTROLLER_PORT
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$BASE/munge/munge.sock
StateSaveLocation=$BASE/state
SlurmdSpoolDir=$BASE/spool/%n
SlurmctldPidFile=$BASE/run/slurmctld.pid
SlurmdPidFile=$BASE/run/slurmd.%n.pid
SlurmctldLogFile=$BASE/log/slurmctld.log
SlurmdLogFile=$BASE/log/slurmd.%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,sched_min_interval=0
GresTypes=gpu
ReturnToService=2
KillWait=5
MinJobAge=300
SlurmctldTimeout=60
SlurmdTimeout=60
InactiveLimit=0
Waittime=0
TaskProlog=$BASE/bin/prolog.sh
NodeName=node1 NodeHostname=node1 NodeAddr=127.0.1.1 Port=$((NODE_PORT + 1)) CPUs=16 RealMemory=64000 Gres=gpu:t4:2
NodeName=node2 NodeHostname=node2 NodeAddr=127.0.1.2 Port=$((NODE_PORT + 2)) CPUs=16 RealMemory=64000 Gres=gpu:a100:4
NodeName=node3 NodeHostname=node3 NodeAddr=127.0.1.3 Port=$((NODE_PORT + 3)) CPUs=16 RealMemory=64000 Gres=gpu:t4:2
PartitionName=main Nodes=node[1-3] Default=YES MaxTime=INFINITE State=UP
CONF
  printf '%s\n' 'NodeName=node[1,3] Name=gpu Type=t4 File=/dev/tty[0-1]' \
    'NodeName=node2 Name=gpu Type=a100 File=/dev/tty[0-3]' > "$BASE/gres.conf"
  : > "$BASE/cgroup.conf"
  cat > "$BASE/sshd_config" << SSHD
Port $SSH_PORT
ListenAddress 127.0.0.1
HostKey $BASE/hostkey
PidFile $BASE/run/sshd.pid
AuthorizedKeysFile .ssh/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PrintMotd no
StrictModes no
AllowUsers $JOBS_USER
MaxSessions 200
MaxStartups 150:30:200
SetEnv SLURM_CONF=$SLURM_CONF PIP_CONFIG_FILE=$PIP_CONF
Subsystem sftp internal-sftp
SSHD
}

daemons() {
  if ! alive "$BASE/munge/munged.pid"; then
    # shellcheck disable=SC2016  # for the inner shell
    su -s /bin/bash munge -c 'umask 022; exec munged --force --key-file="$0/key" --socket="$0/munge.sock" \
      --pid-file="$0/munged.pid" --log-file="$0/munged.log" --seed-file="$0/seed"' "$BASE/munge"
    chmod 755 "$BASE/munge" # the socket is for all, the key stays munge's
  fi
  # Nothing is left of an earlier cluster's jobs.
  if ! alive "$BASE/run/slurmctld.pid"; then rm -rf "$BASE"/{state,spool}/*; fi
  # A process finds its node's address by the name of its host.
  alive "$BASE/run/slurmctld.pid" || unshare --uts bash -c 'hostname slurm-head; exec slurmctld -f "$0"' "$SLURM_CONF"
  local node
  for node in node1 node2 node3; do
    mkdir -p "$BASE/spool/$node" "$BASE/tmp/$node" "$BASE/scratch"
    chmod 1777 "$BASE/tmp/$node" "$BASE/scratch"
    # shellcheck disable=SC2016  # for the inner shell
    alive "$BASE/run/slurmd.$node.pid" || unshare --uts --mount bash -c 'hostname "$1"
      mount --bind "$0/tmp/$1" "$0/scratch"; exec slurmd -f "$0/slurm.conf" -N "$1"' "$BASE" "$node"
  done
  alive "$BASE/run/sshd.pid" ||
    unshare --uts bash -c 'hostname slurm-head; exec /usr/sbin/sshd -f "$0/sshd_config" -E "$0/log/sshd.log"' "$BASE"
}

until_idle() {
  local i
  for ((i = 0; i < 60; i++)); do
    if [ "$(sinfo --noheader --format='%t %D' 2> /dev/null)" = 'idle 3' ]; then return; fi
    sleep 0.5
  done
  echo "the nodes of the test cluster did not come up:" >&2
  sinfo >&2 || true
  tail -n 20 "$BASE"/log/*.log >&2
  exit 1
}

# What SkyPilot installs on each node, into uv's cache; and the environment of runs, by the script that a task runs.
warm() {
  # shellcheck disable=SC2016  # for the inner shell
  su -s /bin/bash "$JOBS_USER" -c 'set -e
    export UV_CACHE_DIR=/tmp/uv_cache_$(id -u) UV_LINK_MODE=copy UV_OFFLINE=0
    folder=$(mktemp -d); cd "$folder"
    "$0/bin/uv" venv -q --seed v --python 3.10
    VIRTUAL_ENV=$folder/v "$0/bin/uv" pip install -q "skypilot[slurm,remote]==$1"
    rm -rf "$folder"' "$BASE" "$SKYPILOT"
  rm -rf "$BASE/setup"
  cp -r "$1" "$BASE/setup"
  chmod -R a+rX "$BASE/setup"
  su -s /bin/bash "$JOBS_USER" -c 'PIP_CONFIG_FILE=$1 bash "$0/setup/setup.sh"' "$BASE" "$PIP_CONF"
}

case ${1:-} in
  install)
    packages
    accounts
    package_index
    uv_for_nodes
    configuration
    warm "${2:?the folder with setup.sh}"
    ;;
  up)
    daemons
    until_idle
    ;;
  down) down ;;
  *)
    echo "usage: cluster.sh install SETUP|up|down" >&2
    exit 2
    ;;
esac
