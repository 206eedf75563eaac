"""A sweep's workers on this machine in one container of the training image, with docker or podman.

In it runs what starts the workers of ``local`` (`runner.backends.local.slots`): a process for each slot.
"""

import contextlib
import os
import secrets
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.backends.base import Reporter, Say
from runner.backends.docker.attempts import ContainerRunner, make_shared_folders
from runner.backends.docker.container_cli import Containers, find_containers, first_line
from runner.backends.docker.image import obtain
from runner.backends.local.slots import find_devices, make_slots
from runner.backends.local.workers import SLOTS, elsewhere, ended_status, workers_logs
from runner.backends.workers import WORKER, SweepWorkers, WorkerBackend, WorkersRequest, WorkersStatus
from runner.errors import UserError
from runner.paths import make_folder, sweep_folder
from runner.runs.layout import SECRET_NAMES
from runner.storage.store import Store
from runner.sweeps.workers.launches import (
    WorkersLaunch,
    WorkersStarted,
    note_workers,
    note_workers_ended,
    note_workers_started,
)

_PYTHON = "/opt/venv/bin/python"
_START_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class ContainerRequest:
    """What is started on this machine. As `workers.WorkersRequest`."""

    workers: SweepWorkers
    """What was asked for."""
    count: int
    """How many workers that is here."""
    arguments: Sequence[str]
    """The arguments of what starts them, without the folder of this launch's output."""
    command: Sequence[str]
    """The command for people: it is not tied to the life of any process."""

    def as_json(self) -> dict[str, Any]:
        """The command and how many workers it starts."""
        return {"command": list(self.command), "workers": self.count}

    def as_text(self) -> str:
        """The command."""
        return f"{shlex.join(self.command)}\n"


class DockerWorkers(WorkerBackend):
    """Workers are processes in one container of the training image."""

    engine = "docker"
    module = WORKER
    """The worker's program. Tests put a stand-in here."""

    def default_count(self, *, gpus_per_trial: int | None, trials_per_gpu: int) -> int:
        """As many as the GPUs of this machine give; without any, as many as share one.

        Raises:
            UserError: this machine has fewer GPUs than a trial needs.
        """
        return len(make_slots(find_devices(), gpus_per_trial=gpus_per_trial, trials_per_gpu=trials_per_gpu))

    def request(self, store_url: str, workers: SweepWorkers, *, environment: Sequence[str]) -> ContainerRequest:
        """Build the container's command.

        Raises:
            UserError: there are fewer GPUs than that, or neither docker nor podman works, or there is no such image.
        """
        slots = make_slots(
            find_devices(),
            workers=workers.count,
            gpus_per_trial=workers.gpus_per_trial,
            trials_per_gpu=workers.trials_per_gpu,
        )
        arguments = [*workers.arguments(store_url), "--workers", str(len(slots))]
        arguments += ["--trials-per-gpu", str(workers.trials_per_gpu)]
        arguments += ["--gpus-per-trial", str(workers.gpus_per_trial)] if workers.gpus_per_trial else []
        arguments += ["--module", self.module] if self.module != WORKER else []
        arguments += ["--work-dir", str(sweep_folder(store_url, workers.sweep_id) / "work")]
        containers = find_containers()
        image = obtain(containers, str(workers.placement.image)).pinned
        command = workers_command(containers, image, store_url, workers, arguments, environment=os.environ)
        return ContainerRequest(workers=workers, count=len(slots), arguments=arguments, command=command)

    def start(
        self,
        store: Store,
        request: WorkersRequest,
        *,
        environment: Mapping[str, str],
        detach: bool,
        reporter: Reporter,
    ) -> WorkersLaunch:
        """Start the container; it dies with this process unless the workers are to be detached.

        Raises:
            UserError: it could not be started; the message has the program's words.
        """
        assert isinstance(request, ContainerRequest)
        workers, containers = request.workers, find_containers()
        names = [name for name in environment if name != SECRET_NAMES]
        place = workers.placement.fields()
        launch = note_workers(
            store, workers.sweep_id, place, engine=self.engine, count=request.count, environment=names
        )
        logs, name = workers_logs(store.url, launch), f"runner-{secrets.token_hex(6)}"
        make_shared_folders(store.url)
        make_folder(logs)
        launch = note_workers_started(store, launch, WorkersStarted(container=name))
        how = [f"--name={name}", f"--hostname={name}", "--detach" if detach else "--interactive"]
        arguments = [*request.arguments, "--logs", str(logs), *([] if detach else ["--until-stdin-closes"])]
        environ = {**os.environ, **environment}
        image = obtain(containers, str(workers.placement.image)).pinned
        with (logs / "workers.log").open("ab") as log:
            process = subprocess.Popen(
                workers_command(containers, image, store.url, workers, arguments, environment=environ, how=how),
                # Only this process holds it open: the container ends when it closes.
                stdin=subprocess.DEVNULL if detach else subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environ,
                start_new_session=True,
            )
        until = time.monotonic() + _START_SECONDS
        while not _runs(containers, name) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        if process.poll() not in (None, 0, 75):
            words = first_line((logs / "workers.log").read_text(errors="replace"))
            note_workers_ended(store, launch, status="REFUSED", reason=words)
            raise UserError(f"no worker was started: {words}", where=workers.sweep_id)
        if not detach:
            _ATTACHED[name] = process
        count = f"{request.count} {'worker' if request.count == 1 else 'workers'}"
        reporter.say(f"{count} in the container {name}; what they print is in {logs}")
        return launch

    def status(self, store: Store, launch: WorkersLaunch) -> WorkersStatus:
        """Look whether the container is there.

        Raises:
            UserError: it is on another machine, or neither docker nor podman works.
        """
        if launch.ended is not None:
            return ended_status(launch)
        if not launch.is_from_here:
            raise elsewhere(launch)
        name, count = _container(launch), launch.record["count"]
        if name is not None and _runs(find_containers(), name):
            return WorkersStatus(statuses=["RUNNING"] * count, alive=count)
        note_workers_ended(store, launch, status="ENDED")
        return WorkersStatus(statuses=["ENDED"] * count, alive=0)

    def stop(self, store: Store, launch: WorkersLaunch, *, say: Say, timeout_seconds: float) -> WorkersStatus:
        """Have the workers save and end; remove the container when time is up.

        Raises:
            UserError: as `status`.
        """
        status = self.status(store, launch)
        name = _container(launch)
        if status.ended or name is None:
            return status
        containers = find_containers()
        containers.ask("kill", "--signal=TERM", name)
        until = time.monotonic() + timeout_seconds
        while _runs(containers, name) and time.monotonic() < until:
            time.sleep(0.2)
        if _runs(containers, name):
            say(f"the workers of {launch.sweep_id} do not end within {timeout_seconds:.0f} s: killing them")
            containers.ask("rm", "--force", name)
        process = _ATTACHED.pop(name, None)
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            if process.stdin is not None:
                process.stdin.close()
        return self.status(store, launch)


_ATTACHED: "dict[str, subprocess.Popen[bytes]]" = {}
"""The programs that are attached to this process's containers, by name: each ends when its pipe is closed."""


def workers_command(
    containers: Containers,
    image: str,
    store_url: str,
    workers: SweepWorkers,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    how: Sequence[str] = (),
) -> list[str]:
    """Build the command of the container.

    Args:
        containers: docker or podman.
        image: by id or digest.
        store_url: where the sweep lives.
        workers: what is asked for.
        arguments: of what starts the workers in it.
        environment: variables; those that a run reads are passed on by name.
        how: options that say how it is started.
    """
    folder = sweep_folder(store_url, workers.sweep_id)
    runner = ContainerRunner(containers, image, workers.recipe, paths=workers.paths)
    options = runner.options(store_url, folder, environment=environment)
    program = ["--", _PYTHON, "-P", "-m", SLOTS, *arguments]
    return containers.command("run", *how, *options, "--entrypoint=/usr/bin/tini", image, *program)


def _runs(containers: Containers, name: str) -> bool:
    answer = containers.ask("container", "inspect", "--format", "{{.State.Running}}", name)
    return answer.returncode == 0 and answer.stdout.strip() == "true"


def _container(launch: WorkersLaunch) -> str | None:
    return None if launch.started is None else launch.started.get("container")
