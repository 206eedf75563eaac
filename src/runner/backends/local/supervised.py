"""What the backends of this machine share: a process of ours supervises a run's attempts and holds the run's lock."""

import os
import shlex
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.backends.base import (
    AttemptRunner,
    Backend,
    JobStatus,
    Placement,
    Reporter,
    Request,
    ResourceOptions,
    Say,
    Started,
    Supervision,
    poll_seconds,
)
from runner.backends.local.attempts import ENTRYPOINT
from runner.backends.local.supervisor import Supervisor
from runner.backends.lock import RunLock, lock_holder
from runner.errors import UserError
from runner.paths import state_folder
from runner.recipe.recipe import Recipe
from runner.runs.launches import Launch, write_submission
from runner.runs.layout import SECRET_NAMES
from runner.runs.liveness import write_cancelled
from runner.runs.records import encoded
from runner.runs.status import run_status
from runner.storage.store import Store

PATIENCE_SECONDS = 10.0
"""How long an attempt may take to find the request to cancel before its supervisor is told to stop it."""


@dataclass(frozen=True, kw_only=True)
class AttemptRequest:
    """What is started on this machine: attempts of a run, one after the other. As `base.Request`."""

    document: Mapping[str, Any]
    """The run's ``run.json``, with its current placement."""
    command: Sequence[str]
    """The command of one attempt."""
    attempts: AttemptRunner
    """What starts them."""

    def as_json(self) -> dict[str, Any]:
        """The command, as ``launch --dry-run --json`` prints it."""
        return {"command": list(self.command)}

    def as_text(self) -> str:
        """The run's record and the command."""
        return f"{encoded(self.document).decode()}{shlex.join(self.command)}\n"


class _StoreSaysEverything:
    """The part of `base.Backend` for backends that know nothing which is not in the store."""

    def status(self, store: Store, run_id: str) -> JobStatus | None:
        """Return None: the store says everything."""
        return None

    def refresh(self, store: Store, run_ids: Sequence[str]) -> None:
        """Do nothing: the store says everything."""

    def refuse_if_busy(self, store: Store, launch: Launch) -> None:
        """Do nothing: the run's lock and its attempts' heartbeats show whether it runs."""

    def note_vanished(self, store: Store, run_id: str) -> None:
        """Do nothing: a process that vanished is seen without help."""


class SupervisedBackend(_StoreSaysEverything, Backend, ABC):
    """A backend whose attempts are started on this machine."""

    name: str
    """The infra."""
    supervised_here = True
    shares_environment = False
    entrypoint = ENTRYPOINT
    """The module that runs an attempt."""

    @abstractmethod
    def attempts(self, document: Mapping[str, Any], *, entrypoint: str) -> AttemptRunner:
        """Return what starts the attempts of a run.

        Args:
            document: its ``run.json``, with its current placement.
            entrypoint: the module that runs an attempt.

        Raises:
            UserError: this machine lacks what that takes.
        """

    @abstractmethod
    def resolve(
        self, recipe: Recipe, options: ResourceOptions, *, image: str | None, before: Mapping[str, Any] | None = None
    ) -> Placement:
        """Find out in which image a run is to run."""

    @abstractmethod
    def require(self, store: Store, placement: Placement) -> None:
        """Refuse at once if this machine lacks what attempts need."""

    def check(self, options: ResourceOptions, *, cluster: str | None, image: str | None) -> None:
        """Refuse options that are for machines elsewhere.

        Raises:
            UserError: one of them is given.
        """
        asked = [
            name
            for name, is_asked in (
                ("--gpu", bool(options.gpus)),
                ("--nodes", options.nodes is not None),
                ("--spot", options.use_spot is not None),
                ("--max-hourly-cost", options.max_hourly_cost is not None),
                ("--cluster", cluster is not None),
                ("--infra", bool(options.infra) and options.infra != (self.name,)),
            )
            if is_asked
        ]
        if asked:
            remedy = f"leave out one of the two; {asked[0]} is for machines that SkyPilot finds"
            raise UserError(f"a run on this machine takes no {asked[0]}", where=f"--infra {self.name}", remedy=remedy)

    def request(
        self, store_url: str, document: Mapping[str, Any], *, environment: Sequence[str], cluster: str | None = None
    ) -> AttemptRequest:
        """Build the command of one attempt; nothing is started."""
        attempts = self.attempts(document, entrypoint=self.entrypoint)
        return AttemptRequest(
            document=document, command=attempts.command(store_url, document["run_id"]), attempts=attempts
        )

    def start(
        self,
        store: Store,
        request: Request,
        *,
        environment: Mapping[str, str],
        lock: RunLock | None,
        detach: bool,
        reporter: Reporter,
    ) -> Started:
        """Supervise the run in a process of its own, or return what supervises it in this one.

        Raises:
            UserError: the supervisor in the background ended before an attempt began; the message repeats its words.
        """
        assert isinstance(request, AttemptRequest)
        assert lock is not None, "a run on this machine is started with its lock held"
        run_id = request.document["run_id"]
        names = [name for name in environment if name != SECRET_NAMES]
        if detach:
            from runner.backends.local.detached import start_detached  # imports this module

            pid = start_detached(
                store,
                run_id,
                lock,
                environment=environment,
                entrypoint=self.entrypoint,
                on_start=lambda pid: write_submission(store, run_id, pid=pid, environment=names),
            )
            return Started(pid=pid)
        write_submission(store, run_id, pid=os.getpid(), environment=names)

        def supervise(say: Say, on_tick: Callable[[], None]) -> Supervision:
            supervisor = Supervisor(
                store,
                run_id,
                environment=environment,
                say=say,
                on_tick=on_tick,
                attempts=request.attempts,
                attended=True,
            )
            exit_code = supervisor.run()
            lock.close()
            return Supervision(exit_code=exit_code, last_lines=supervisor.last_lines)

        return Started(supervise=supervise)

    def cancel(self, store: Store, run_id: str, *, say: Say, timeout_seconds: float) -> None:
        """Wait until the attempt has found the request; tell its supervisor to stop it if it does not."""
        started = time.monotonic()
        signalled = False
        folder = state_folder(store.url, run_id)
        status = run_status(store, run_id)
        while not status.terminal and time.monotonic() < started + timeout_seconds:
            supervisor = lock_holder(folder)
            if supervisor is None and status.state != "running":
                write_cancelled(store, run_id)
            elif not signalled and supervisor and time.monotonic() > started + PATIENCE_SECONDS:
                say(f"the attempt does not react; stopping its supervisor, process {supervisor}")
                os.kill(supervisor, signal.SIGTERM)
                signalled = True
            else:
                time.sleep(poll_seconds(store))
            status = run_status(store, run_id)
