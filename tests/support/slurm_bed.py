"""A real Slurm, driven by a real SkyPilot, where no network is: one of each with a store."""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.runs.status import run_status
from runner.storage.open import open_store
from runner.storage.store import NotFound, Store
from support.paths import ROOT
from support.servers.processes import free_port
from support.servers.s3 import BUCKET, S3Server

HERE = ROOT / "tests/slurm"
BASE = Path("/srv/runner-slurm")
RUNNER = str(ROOT / ".venv/bin/runner")
SKY = ROOT / ".venv-sky/bin"
ALIAS = "storehost"
"""A name for this machine without a dot, before which S3 servers would read a bucket."""
BUILD = {"PIP_NO_BUILD_ISOLATION": "0"}
"""SkyPilot builds a wheel of itself: with the setuptools that it has, since no index is reached. (To pip, the value is
whether to isolate.)"""

_CONFIG = """
allowed_clouds: [slurm]
jobs:
  controller:
    consolidation_mode: true  # Slurm cannot host the controller of managed jobs: the server does
slurm:
  cluster_configs:
    testbed:
      tmpdir: {base}/scratch
"""
_SSH = """
Host testbed
    HostName 127.0.0.1
    Port 18122
    User runner-jobs
    IdentityFile {base}/userkey
    IdentitiesOnly yes
"""
# Without these, SkyPilot would fetch them before its first launch.
_ACCELERATORS = """AcceleratorName,Clouds
T4,"['AWS', 'GCP', 'Slurm']"
A100,"['AWS', 'GCP', 'Slurm']"
A100-80GB,"['AWS', 'GCP', 'Slurm']"
"""
_GPUS = """GPU,MemoryGB,Manufacturer
T4,16.0,NVIDIA
A100,40.0,NVIDIA
A100-80GB,80.0,NVIDIA
"""


@dataclass(frozen=True)
class Testbed:
    """The cluster, SkyPilot and a store, as somebody at a terminal has them."""

    __test__ = False

    environment: Mapping[str, str]
    """Of every command."""
    store: Store
    """Where runs live."""
    folder: Path
    """For files."""

    def runner(self, *arguments: str, timeout_seconds: float = 1200) -> "subprocess.CompletedProcess[str]":
        """Run a command of ours."""
        return self._run(RUNNER, *arguments, timeout_seconds=timeout_seconds)

    def start(self, *command: str) -> "subprocess.Popen[str]":
        """Start a command in a session of its own."""
        return subprocess.Popen(
            command,
            env=dict(self.environment),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @staticmethod
    def of_the_nodes(module: str) -> list[str]:
        """How a module is run in the environment that the nodes have, where what is ``builtin:`` is the same."""
        locks = b"".join((ROOT / f"images/{name}.lock").read_bytes() for name in ("cpu", "torch"))
        lock = hashlib.sha256(locks).hexdigest()[:16]
        python = BASE / f"home/.cache/runner/environments/cpu-{lock}/bin/python"
        return ["env", f"PYTHONPATH={ROOT / 'src'}", str(python), "-P", "-m", module]

    def attempt(self, store_url: str, run_id: str, work: Path) -> list[str]:
        """The command of an attempt that SkyPilot has no part in."""
        options = ["--store", store_url, "--run", run_id, "--work-dir", str(work)]
        return [*self.of_the_nodes("runner.train.entrypoint"), *options]

    def sky(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of SkyPilot's."""
        return self._run(str(SKY / "sky"), *arguments, timeout_seconds=600)

    def slurm(self, *command: str) -> str:
        """What a command of Slurm's prints."""
        return subprocess.run(command, env=dict(self.environment), capture_output=True, text=True, check=True).stdout

    def status(self, run_id: str) -> dict[str, Any]:
        """A run as `runner ps --json` lists it."""
        listed: list[dict[str, Any]] = json.loads(self.runner("ps", "--json").stdout)
        [found] = [run for run in listed if run["run_id"] == run_id]
        return found

    def find(self, run_id: str) -> dict[str, Any] | None:
        """What is known of a run; None if there is no such run yet. By this process: a command would cost a core."""
        try:
            return dataclasses.asdict(run_status(self.store, run_id))
        except NotFound:
            return None

    def until(self, run_id: str, holds: Callable[[dict[str, Any]], bool], patience_seconds: float = 1200) -> None:
        """Wait until something holds of a run's status."""
        deadline = time.monotonic() + patience_seconds
        while not (found := self.find(run_id)) or not holds(found):
            assert time.monotonic() < deadline, found
            time.sleep(0.5)

    def _run(self, *command: str, timeout_seconds: float) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command,
            env=dict(self.environment),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
        )


def alone() -> None:
    """See that there is no way out of this network namespace: SkyPilot would ask the world whether it is up."""
    routes = Path("/proc/net/route").read_text().splitlines()[1:]
    assert not routes, "run this with tests/slurm/inside.sh"


@contextlib.contextmanager
def alias_of_this_machine() -> Iterator[None]:
    """Another name for loopback, since a store there is refused for a run elsewhere. No name is looked up for that."""
    hosts = Path("/etc/hosts")
    before = hosts.read_text()
    hosts.write_text(f"{before.rstrip()}\n127.0.0.1 {ALIAS}\n")
    try:
        yield
    finally:
        hosts.write_text(before)


@contextlib.contextmanager
def standing(folder: Path, server: S3Server) -> Iterator[Testbed]:
    """Everything up, with `server` for the store; down again at the end, whatever happens.

    Args:
        folder: for the user's home and for files.
        server: an S3 server.
    """
    alone()
    home = folder / "home"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RUNNER_", "XDG_"))},
        **{name: value.replace("127.0.0.1", ALIAS) for name, value in server.environment().items()},
        **BUILD,
        "HOME": str(home),
        "PATH": f"{SKY}:{os.environ['PATH']}",
        "SLURM_CONF": str(BASE / "slurm.conf"),
        "SKYPILOT_API_SERVER_LOCAL_PORT": str(free_port()),
        "SKYPILOT_DISABLE_USAGE_COLLECTION": "1",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "RUNNER_STORE": f"s3://{BUCKET}/runs-here",
    }
    _write(home / ".sky/config.yaml", _CONFIG.format(base=BASE))
    _write(home / ".sky/plugins.yaml", "plugins:\n  - class: runner_offline.Offline\n")
    _write(home / ".sky/catalogs/v8/common/accelerators.csv", _ACCELERATORS)
    _write(home / ".sky/catalogs/v8/common/metadata.csv", _GPUS)
    _write(home / ".slurm/config", _SSH.format(base=BASE))
    os.environ.update(server.environment())  # for the store in this very process
    subprocess.run(["bash", str(HERE / "cluster.sh"), "up"], check=True, timeout=120)
    bed = Testbed(environment, open_store(environment["RUNNER_STORE"]), folder)
    with contextlib.ExitStack() as stack:
        stack.enter_context(alias_of_this_machine())
        stack.callback(lambda: _take_down(bed, home))
        checked = bed.sky("check", "slurm")
        assert "Slurm: enabled" in without_colours(checked.stdout), checked.stdout + checked.stderr
        yield bed


def _take_down(bed: Testbed, home: Path) -> None:
    bed.sky("api", "stop")
    subprocess.run(["bash", str(HERE / "cluster.sh"), "down"], check=True, timeout=120)
    _end_all_others()
    shutil.rmtree(home, ignore_errors=True)


def without_colours(text: str) -> str:
    """What a terminal would show."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _end_all_others() -> None:
    """End what is left in this network namespace, which is these tests' own: jobs, SkyPilot's daemons, ssh connections.

    A connection that outlives its cluster would be taken for one to the next.
    """
    ours = Path("/proc/self/ns/net").readlink()
    keep = {os.getpid(), os.getppid()}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(folder.name) not in keep and (folder / "ns/net").readlink() == ours:
                os.kill(int(folder.name), signal.SIGKILL)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
