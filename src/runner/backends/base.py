"""What a backend is: the place where runs run. One protocol at the level of a run, one for the attempts of a run.

A backend has four verbs: `Backend.request` builds what will be sent and changes nothing, `Backend.start` sends it,
`Backend.status` tells what the backend knows of the run beside the store, `Backend.cancel` ends it. The rest of the
protocol exists so that no module outside of this package asks which backend a run has: `registry` finds it by name.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol

from runner.backends.lock import RunLock
from runner.errors import UserError
from runner.recipe.recipe import Recipe
from runner.runs.launches import Launch
from runner.storage.store import Store

Say = Callable[[str], None]
"""Receives a sentence for people when something happens."""


def _plain_command(words: str) -> str:
    return f"runner {words}"


@dataclass(frozen=True, kw_only=True)
class Reporter:
    """How a backend reaches the person who launches."""

    say: Say
    """Receives what happens."""
    typed: Callable[[str], str] = _plain_command
    """Makes a command of ours (``cancel RUN``) one that this person can type."""
    output: IO[str] | None = None
    """Where a program's own output goes, such as SkyPilot's; None to drop it."""


@dataclass(frozen=True, kw_only=True)
class ResourceOptions:
    """The machines that a launch asks for; the recipe decides what is left open here."""

    gpus: tuple[str, ...] = ()
    """``a100:8`` each, in any case: any of them."""
    infra: tuple[str, ...] = ()
    """``local``, ``docker``, ``aws``, ``aws/us-east-1``, ``slurm/CLUSTER``, ``k8s/CONTEXT`` each: any of them."""
    nodes: int | None = None
    """How many machines."""
    use_spot: bool | None = None
    """Whether spot machines are taken."""
    max_hourly_cost: float | None = None
    """The most that one hour of one machine may cost, in US dollars."""

    @property
    def any(self) -> bool:
        """Whether anything is asked for."""
        return self != ResourceOptions()


@dataclass(frozen=True, kw_only=True)
class ResolvedResources:
    """The machines that a backend with machines elsewhere is asked for."""

    resources: Mapping[str, Any]
    """SkyPilot's `resources`."""
    num_nodes: int
    """How many machines."""
    infra: str
    """The infras, separated by commas; ``*`` if SkyPilot chooses."""
    accelerators: Mapping[str, float] | None
    """Each accelerator that would do, and how many; None for a machine without."""
    notes: tuple[str, ...]
    """What was left out of what was asked for, and why."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a run runs, and in which image."""

    infra: str
    """The infra, as ``run.json`` names it."""
    image: str | None = None
    """The image, by name, digest or id; None for a run that is not in one."""
    machines: ResolvedResources | None = None
    """The machines that are asked for, image included; None for this machine."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out of what was asked for, and why."""
        return self.machines.notes if self.machines else ()

    def fields(self) -> dict[str, Any]:
        """The same as the fields of ``run.json`` and of a launch's record (`PLACEMENT_FIELDS`)."""
        machines = self.machines
        return {
            "infra": self.infra,
            "accelerators": machines.accelerators if machines else None,
            "resources": machines.resources if machines else None,
            "num_nodes": machines.num_nodes if machines else 1,
            "image": self.image,
        }


class Request(Protocol):
    """Exactly what a backend will be sent for a run. It is immutable and names secrets without their values."""

    @property
    def document(self) -> Mapping[str, Any]:
        """The run's ``run.json``, with the placement of this launch."""

    def as_json(self) -> dict[str, Any]:
        """What is sent, under its name (``command``, ``task``), for ``launch --dry-run --json``."""

    def as_text(self) -> str:
        """The same for people; ends with a line break."""


@dataclass(frozen=True, kw_only=True)
class Supervision:
    """How a run was supervised in this process, to its end or until it was interrupted."""

    exit_code: int
    """0 succeeded, 1 failed or cancelled, 2 failed because of a user's mistake, 75 interrupted, 130 Ctrl-C."""
    last_lines: Sequence[str]
    """The last lines that the newest attempt printed."""


@dataclass(frozen=True, kw_only=True)
class Started:
    """What `Backend.start` has begun."""

    supervise: Callable[[Say, Callable[[], None]], Supervision] | None = None
    """Runs the attempts in this process, from its main thread, and returns when they are over. Called once, with `say`
    and a function that is called about ten times a second, for a display. None if the run goes on without us."""
    pid: int | None = None
    """The process that supervises the run in the background on this machine, if there is one."""
    job: Mapping[str, Any] | None = None
    """What the backend calls the job, if it runs elsewhere."""


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """What a backend knows of a run's newest launch, beside the store."""

    status: str
    """In the backend's own word, such as ``STARTING``."""
    reason: str | None
    """Why, if the backend says so."""
    ended: bool
    """Whether the backend will do nothing more for this launch."""


def check_image(reference: str) -> None:
    """Refuse the name of an image that begins with a login: it stands in records, tasks and messages.

    Raises:
        UserError: it does; the message does not repeat it.
    """
    if "@" in reference and re.fullmatch(r"[^@]+@[a-z0-9]+:[0-9a-f]{32,}", reference) is None:
        raise UserError(
            "the name of an image must hold no login (…@…)",
            where="the image",
            remedy="write REGISTRY/NAME:TAG, and log in to the registry with `docker login`, or SkyPilot's "
            "SKYPILOT_DOCKER_USERNAME, SKYPILOT_DOCKER_PASSWORD and SKYPILOT_DOCKER_SERVER as secrets",
        )


class Backend(Protocol):
    """A place where runs run."""

    supervised_here: bool
    """Whether a process of this machine supervises the run, and holds its lock from before the run exists."""
    shares_environment: bool
    """Whether attempts use this Python's packages, and all of this process's environment variables."""

    def check(self, options: ResourceOptions, *, cluster: str | None, image: str | None) -> None:
        """Refuse options that make no sense for this backend, before anything else is read.

        Raises:
            UserError: one of them is given.
        """

    def resolve(
        self, recipe: Recipe, options: ResourceOptions, *, image: str | None, before: Mapping[str, Any] | None = None
    ) -> Placement:
        """Find out where a run is to run.

        Args:
            recipe: what is to run.
            options: the machines that are asked for.
            image: the image that is asked for; None for the backend's default.
            before: ``run.json`` with the current placement of a run that is resumed: what is not asked for now stays
                as it was there.

        Raises:
            UserError: no machine would do, or there is no such image.
        """

    def require(self, store: Store, placement: Placement) -> None:
        """Refuse at once if runs cannot be started there from this machine.

        Raises:
            UserError: something is not installed, or there are no credentials for the store.
        """

    def request(
        self, store_url: str, document: Mapping[str, Any], *, environment: Sequence[str], cluster: str | None = None
    ) -> Request:
        """Build what `start` will send; nothing is written to the store and nothing is started.

        Args:
            store_url: where the run lives.
            document: its ``run.json``, with the placement of this launch.
            environment: names of the variables that it is given by the caller.
            cluster: the SkyPilot cluster to run on.

        Raises:
            UserError: the run could not reach its store from there.
        """

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
        """Start a run that is in the store, and record the launch there.

        Args:
            store: where the run lives.
            request: from `request`.
            environment: variables that the run is given by the caller, `SECRET_NAMES` among them.
            lock: the run's lock, for a backend that is `supervised_here`; it is released when supervision ends.
            detach: whether the run goes on in the background.

        Raises:
            UserError: it could not be started.
        """

    def status(self, store: Store, run_id: str) -> JobStatus | None:
        """Ask the backend now, which may take seconds, and record an end; None if it knows nothing."""

    def refresh(self, store: Store, run_ids: Sequence[str]) -> None:
        """Have what the backend knows of these runs looked up in the background. Returns at once."""

    def refuse_if_busy(self, store: Store, launch: Launch) -> None:
        """Make sure that a launch of this backend's is over, before the run continues elsewhere.

        Raises:
            UserError: the backend may still work on the run.
        """

    def note_vanished(self, store: Store, run_id: str) -> None:
        """Record the end of an attempt that died with its supervisor, if this backend can see that it did."""

    def cancel(self, store: Store, run_id: str, *, say: Say, timeout_seconds: float) -> None:
        """End a run whose cancellation is requested in the store; returns when it has ended, or when time is up."""


class RunningAttempt(Protocol):
    """An attempt that has been started on this machine. It dies with this process, whatever this process dies of."""

    def wait(self, timeout_seconds: float) -> int | None:
        """Wait for its end; return its exit code (negative: the signal that killed it), or None if time is up."""

    def stop(self) -> None:
        """Ask it to save and end, with SIGTERM."""

    def kill(self) -> None:
        """Kill it and all processes that it has started."""

    def clear(self) -> None:
        """Kill and reap what is left of it."""

    def made(self, claim: Mapping[str, Any]) -> bool:
        """Whether a claim (``attempts/<n>.json``) was made by this attempt, and not by one elsewhere."""


class AttemptRunner(Protocol):
    """How the supervisor of this machine starts attempts."""

    def command(self, store_url: str, run_id: str) -> list[str]:
        """Build the command of one attempt for people: it is not tied to the life of any process."""

    def start(self, store_url: str, run_id: str, *, environment: Mapping[str, str], log: IO[bytes]) -> RunningAttempt:
        """Start an attempt.

        Args:
            store_url: where the run lives.
            run_id: the run.
            environment: all of the attempt's environment, this process's own included.
            log: receives what the attempt prints.
        """


LOCAL_SECONDS, REMOTE_SECONDS = 0.5, 2.0
"""How often a folder and a store behind a network are asked."""


def poll_seconds(store: Store) -> float:
    """How long to wait between two looks at a run of this store."""
    return REMOTE_SECONDS if "://" in store.url and not store.url.startswith("file://") else LOCAL_SECONDS
