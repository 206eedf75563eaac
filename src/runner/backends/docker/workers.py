"""A sweep's workers on this machine in one container of the training image, with docker or podman.

In it runs what starts the workers of ``local`` (`runner.backends.local.slots`): a process for each slot.
"""

import contextlib
import os
import secrets
import subprocess
import time
from collections.abc import Mapping, Sequence

from runner.backends.base import Reporter
from runner.backends.docker.attempts import ContainerRunner, make_shared_folders
from runner.backends.docker.container_cli import Containers, find_containers, first_line
from runner.backends.docker.image import obtain
from runner.backends.local.slot_workers import SLOTS, SlotsRequest, SlotWorkers, counted, workers_logs
from runner.backends.workers import SweepWorkers, WorkersRequest
from runner.errors import UserError
from runner.paths import make_folder, sweep_folder
from runner.storage.store import Store
from runner.sweeps.workers.launches import (
    WorkersLaunch,
    WorkersStarted,
    note_workers_ended,
    note_workers_started,
)

_PYTHON = "/opt/venv/bin/python"
_START_SECONDS = 60.0


class DockerWorkers(SlotWorkers):
    """Workers are processes in one container of the training image."""

    engine = "docker"

    def request(self, store_url: str, workers: SweepWorkers, *, environment: Sequence[str]) -> SlotsRequest:
        """Build the container's command.

        Raises:
            UserError: there are fewer GPUs than that, or neither docker nor podman works, or there is no such image.
        """
        arguments, count = self.slots_arguments(store_url, workers)
        containers = find_containers()
        image = obtain(containers, str(workers.placement.image)).pinned
        command = workers_command(containers, image, store_url, workers, arguments, environment=os.environ)
        return SlotsRequest(workers=workers, count=count, arguments=arguments, command=command)

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
        assert isinstance(request, SlotsRequest)
        workers, containers = request.workers, find_containers()
        launch = self.note(store, request, environment)
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
        reporter.say(f"{counted(request.count)} in the container {name}; what they print is in {logs}")
        return launch

    def runs(self, launch: WorkersLaunch) -> bool:
        """Whether the container is there.

        Raises:
            UserError: neither docker nor podman works.
        """
        name = _container(launch)
        return name is not None and _runs(find_containers(), name)

    def terminate(self, launch: WorkersLaunch) -> None:
        """Send SIGTERM to its process 1."""
        find_containers().ask("kill", "--signal=TERM", str(_container(launch)))

    def kill(self, launch: WorkersLaunch) -> None:
        """Remove it."""
        find_containers().ask("rm", "--force", str(_container(launch)))

    def clear(self, launch: WorkersLaunch) -> None:
        """End the program that is attached to it, if this process started it."""
        process = _ATTACHED.pop(str(_container(launch)), None)
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            if process.stdin is not None:
                process.stdin.close()


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
