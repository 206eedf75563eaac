"""Attempts as containers of the training image on this machine, with docker or podman.

A container gets no more than it needs: the user's own id, a read-only root, no capabilities, the folders that the run
names, and variables by name. The network is the machine's, as with SkyPilot, so that a store on it is reached.
"""

import contextlib
import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from runner.backends.base import AttemptRunner, RunningAttempt, check_image
from runner.backends.docker.container_cli import Containers, find_containers
from runner.backends.docker.image import Image, obtain
from runner.paths import cache_folder, huggingface_home, make_folder, work_folder
from runner.process import boot_id
from runner.recipe.inputs.machine_paths import machine_paths
from runner.recipe.inputs.references import is_local
from runner.recipe.recipe import Recipe
from runner.runs.layout import IMAGE_VARIABLE, SECRET_NAMES
from runner.runs.liveness import newest_attempt, write_killed
from runner.storage.store import Store

_GPU = Path("/dev/nvidiactl")
_PASSED_ON = (
    "AWS_",
    "AZURE_",
    "CUDA_VISIBLE_DEVICES",
    "GOOGLE_",
    "HF_",
    "NCCL_",
    "OMP_NUM_THREADS",
    "PYTORCH_",
    "TOKENIZERS_",
    "TRANSFORMERS_",
    "WANDB_",
)
"""Beginnings of the names of variables that a run reads: a container is given these of ours, and those that were named
with ``--env-file`` and ``--secret``."""

_FILE_VARIABLES = (
    "AWS_CA_BUNDLE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS",
)
"""Variables among them that name a file, which is mounted."""

_STOP_SECONDS = 5.0
_NAME = re.compile(r"runner-[0-9a-f]{12}")


class ContainerRunner(AttemptRunner):
    """Starts attempts as containers of one image.

    Args:
        containers: docker or podman.
        image: by id or digest.
        recipe: of the run; local folders that it names are mounted.
        paths: of this machine, mounted as well.
    """

    def __init__(
        self, containers: Containers, image: str, recipe: Mapping[str, Any], *, paths: Sequence[str] = ()
    ) -> None:
        self._containers = containers
        self._image = image
        self._recipe = recipe
        self._paths = paths

    def command(self, store_url: str, run_id: str) -> list[str]:
        """Build the command of one attempt, as `AttemptRunner.command`."""
        return self._command(store_url, run_id, name=None, environment=os.environ)

    def start(self, store_url: str, run_id: str, *, environment: Mapping[str, str], log: IO[bytes]) -> "Container":
        """Start a container, as `AttemptRunner.start`."""
        name = f"runner-{secrets.token_hex(6)}"
        make_shared_folders(store_url)
        process = subprocess.Popen(
            self._command(store_url, run_id, name=name, environment=environment),
            # Only this process holds it open: the attempt ends when it closes.
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        return Container(self._containers, name, process)

    def _command(self, store_url: str, run_id: str, *, name: str | None, environment: Mapping[str, str]) -> list[str]:
        work = work_folder(store_url, run_id)
        how = ["--interactive", f"--name={name}", f"--hostname={name}"] if name else []
        attempt = ["--store", store_url, "--run", run_id, "--work-dir", str(work)]
        attempt += ["--until-stdin-closes"] if name is not None else []
        options = self.options(store_url, work, environment=environment)
        return self._containers.command("run", *how, *options, self._image, *attempt)

    def options(self, store_url: str, work: Path, *, environment: Mapping[str, str]) -> list[str]:
        """Build the options of ``run``: what the container is given of this machine, and what it may not do.

        Args:
            store_url: where the run or sweep lives.
            work: a folder of its own.
            environment: variables; those that a run reads are passed on by name.
        """
        home = work / "home"
        options = ["--rm"]
        options += [f"--user={os.getuid()}:{os.getgid()}", "--network=host", "--pull=never"]
        options += ["--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--security-opt=label=disable"]
        # Data loaders hand batches over in shared memory; compiled kernels are loaded from /tmp.
        options += ["--shm-size=8g", "--tmpfs=/tmp:rw,exec,nosuid,mode=1777"]
        if self._containers.program == "podman" and os.getuid() != 0:
            options.append("--userns=keep-id")
        if _GPU.exists():
            options.append("--gpus=all" if self._containers.program == "docker" else "--device=nvidia.com/gpu=all")
        runner_cache, hub = _caches()
        writable = [work, runner_cache, hub, *([Path(store_url)] if is_local(store_url) else [])]
        options += [f"--volume={folder}:{folder}" for folder in writable]
        options += [f"--volume={path}:{path}:ro" for path in self._read_only(environment)]
        credentials = Path.home() / ".aws"
        if store_url.startswith("s3://") and credentials.is_dir():
            options.append(f"--volume={credentials}:{home / '.aws'}:ro")
        # By name: the program takes the values from its own environment, and no list of processes shows them.
        named = sorted(_names(environment) - {"HF_HOME"})
        options += [f"--env={variable}" for variable in named]
        # torch asks who the user is, and the image knows no name for this id.
        places = {"HOME": home, "USER": "runner", "XDG_CACHE_HOME": runner_cache.parent, "HF_HOME": hub}
        places |= {IMAGE_VARIABLE: self._image}
        options += [f"--env={variable}={value}" for variable, value in places.items()]
        return options

    def _read_only(self, environment: Mapping[str, str]) -> list[str]:
        """Local folders and files that are named where a path belongs, and nothing else that looks like one."""
        named = [*self._paths, *(path for _, path in machine_paths(Recipe.from_mapping(self._recipe)))]
        named += [environment[name] for name in _FILE_VARIABLES if name in environment]
        return sorted({path for path in named if is_local(path) and Path(path).exists()})


class Container(RunningAttempt):
    """One attempt in a container; `process` is the program that is attached to it."""

    def __init__(self, containers: Containers, name: str, process: "subprocess.Popen[bytes]") -> None:
        self._containers = containers
        self._name = name
        self._process = process

    def wait(self, timeout_seconds: float) -> int | None:
        """Wait for its end; its exit code, or None if time is up."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout_seconds)
        return None

    def stop(self) -> None:
        """SIGTERM for the container's process 1. One that is only being made is waited for."""
        until = time.monotonic() + _STOP_SECONDS
        while self._process.poll() is None and time.monotonic() < until:
            if self._containers.ask("kill", "--signal=TERM", self._name).returncode == 0:
                return
            time.sleep(0.1)
        self._process.terminate()

    def kill(self) -> None:
        """SIGKILL for all that is in it."""
        self._containers.ask("kill", "--signal=KILL", self._name)

    def clear(self) -> None:
        """Remove it, running or not, and end the program that is attached to it."""
        if self._process.poll() is None:
            self.kill()
        self._containers.ask("rm", "--force", self._name)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._process.wait()

    def made(self, claim: Mapping[str, Any]) -> bool:
        """Whether the claim names this container as its host."""
        return claim.get("host") == self._name


def container_runner(document: Mapping[str, Any]) -> ContainerRunner:
    """Return what starts the attempts of a run that was launched to docker; its image is pulled if it is not here.

    Raises:
        UserError: neither docker nor podman works, or the run's image does not exist.
    """
    containers = find_containers()
    return ContainerRunner(containers, obtain(containers, document["image"]).pinned, document["recipe"])


def image_for(name: str | None) -> Image:
    """Return the image called `name`, or else the one that `runner image build` makes for this machine.

    Raises:
        UserError: neither docker nor podman works, or there is no such image.
    """
    if name is not None:
        check_image(name)
    containers = find_containers()
    return obtain(containers, name or f"runner:{'cuda' if _GPU.exists() else 'cpu'}")


def note_killed(store: Store, run_id: str) -> None:
    """Record that the run's newest attempt was killed, if it was a container of this machine that no longer exists.

    If its supervisor died with it, no other process does, and the run would look alive until its heartbeat is old.

    Raises:
        UserError: neither docker nor podman works.
    """
    attempt = newest_attempt(store, run_id)
    if attempt is None or attempt.ended is not None or attempt.claim.get("boot_id") != boot_id():
        return
    name = str(attempt.claim.get("host"))
    if _NAME.fullmatch(name) is None:
        return
    containers = find_containers()
    until = time.monotonic() + _STOP_SECONDS  # it may be dying at this moment
    while containers.ask("container", "inspect", name).returncode == 0:
        if time.monotonic() > until:
            return
        time.sleep(0.2)
    write_killed(store, attempt, signal_number=signal.SIGKILL)


def _names(environment: Mapping[str, str]) -> set[str]:
    """The variables that a container is given."""
    chosen = environment.get(SECRET_NAMES, "")
    known = {name for name in environment if name.startswith(_PASSED_ON)}
    return known | ({SECRET_NAMES, *chosen.split(",")} if chosen else set())


def make_shared_folders(store_url: str) -> None:
    """Make the folders that all containers write to, before the container program does, as root."""
    for folder in (*_caches(), *([Path(store_url)] if is_local(store_url) else [])):
        make_folder(folder)


def _caches() -> tuple[Path, Path]:
    """runner's own cache and the hub's, shared by all runs."""
    return cache_folder(), huggingface_home()
