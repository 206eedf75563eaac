"""What a backend is for a sweep: the place where its workers run, each of which takes one trial after the other.

Beside `runner.backends.base`, whose backends run runs. `registry` finds both by the name of an infra.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from runner.backends.base import Placement, Reporter, Say
from runner.storage.store import Store
from runner.sweeps.workers.launches import WorkersLaunch

WORKER = "runner.train.sweep_worker"
"""The module that is a worker."""


@dataclass(frozen=True, kw_only=True)
class SweepWorkers:
    """The workers that a sweep asks for."""

    sweep_id: str
    """The sweep."""
    placement: Placement
    """Where they run, and in which image. Of machines elsewhere: those of one trial."""
    count: int | None = None
    """How many, which is how many trials train at once; None: one machine's, or what the GPUs of this machine give."""
    sky: Mapping[str, Any] = field(default_factory=dict)
    """The recipe's `sky`, its local paths absolute."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """The recipe as ``run.json`` has it; a container gets the local folders that it names."""
    paths: Sequence[str] = ()
    """Local files and folders that only a drawn value names; a container gets them too."""
    gpus_per_trial: int | None = None
    """How many GPUs a trial has; None: all of a machine elsewhere, one of this machine."""
    trials_per_gpu: int = 1
    """How many trials share a GPU."""
    idle_minutes: float | None = None
    """After which a worker without a trial ends; None for the worker's own default."""

    @property
    def splits(self) -> bool:
        """Whether a machine elsewhere is split among several workers."""
        return self.gpus_per_trial is not None or self.trials_per_gpu > 1

    def arguments(self, store_url: str) -> list[str]:
        """The arguments of the worker, without its folder and name."""
        idle = [] if self.idle_minutes is None else ["--idle-minutes", f"{self.idle_minutes:g}"]
        return ["--store", store_url, "--sweep", self.sweep_id, *idle]


class WorkersRequest(Protocol):
    """Exactly what a backend will be sent for workers. It is immutable and names secrets without their values."""

    @property
    def workers(self) -> SweepWorkers:
        """What was asked for."""

    def as_json(self) -> dict[str, Any]:
        """What is sent, under its name (``command``, ``task``), for a dry run."""

    def as_text(self) -> str:
        """The same for people; ends with a line break."""


@dataclass(frozen=True, kw_only=True)
class WorkersStatus:
    """What a backend knows of the workers of one launch."""

    statuses: Sequence[str]
    """One word for each of them, in the backend's own words, such as ``RUNNING``."""
    alive: int
    """How many may still be working, or have a machine."""
    reason: str | None = None
    """Why, if the backend says so; or why it could not be asked."""

    @property
    def ended(self) -> bool:
        """Whether the backend will do nothing more for them, and none of their machines is left."""
        return self.alive == 0


class WorkerBackend(Protocol):
    """A place where a sweep's workers run."""

    def default_count(self, *, gpus_per_trial: int | None, trials_per_gpu: int) -> int:
        """How many workers there are if nobody has said it: what this machine has room for, or one elsewhere.

        Raises:
            UserError: this machine has fewer GPUs than a trial needs.
        """

    def request(self, store_url: str, workers: SweepWorkers, *, environment: Sequence[str]) -> WorkersRequest:
        """Build what `start` will send; nothing is written to the store and nothing is started.

        Args:
            store_url: where the sweep lives.
            workers: what is asked for.
            environment: names of the variables that they are given by the caller.

        Raises:
            UserError: the workers could not reach the store, or what is asked for makes no sense there.
        """

    def start(
        self,
        store: Store,
        request: WorkersRequest,
        *,
        environment: Mapping[str, str],
        detach: bool,
        reporter: Reporter,
    ) -> WorkersLaunch:
        """Start the workers, and record the launch in the store before and after.

        Args:
            store: where the sweep lives.
            request: from `request`.
            environment: variables that they are given by the caller, `SECRET_NAMES` among them.
            detach: on this machine, whether they outlive this process; elsewhere they do.
            reporter: says what happens.

        Raises:
            UserError: they could not be started.
        """

    def status(self, store: Store, launch: WorkersLaunch) -> WorkersStatus:
        """Ask about the workers of a launch now, which may take seconds, and record their end.

        Raises:
            UserError: the backend does not answer, or it is a machine's own affair that is not this one.
        """

    def stop(self, store: Store, launch: WorkersLaunch, *, say: Say, timeout_seconds: float) -> WorkersStatus:
        """End the workers of a launch, with their machines; return when none is left, or when time is up.

        Raises:
            UserError: as `status`.
        """
