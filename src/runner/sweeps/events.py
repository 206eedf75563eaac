"""What can happen in a sweep: the events of its journal. What is written stays; new fields and events may be added."""

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

from runner.runs.record_types.rules import Count, Line, Time

FailureKind: TypeAlias = Literal["diverged", "out_of_memory", "mistake", "error"]
"""Why a trial failed. A `mistake` is the recipe's: it fails each time. The first two say something of the trial's
values; an `error` says nothing, and is tried again."""


class Drawn(TypedDict):
    """A trial has come into being."""

    event: Literal["drawn"]
    trial: Count
    values: Mapping[str, Any]
    """By parameter, as W&B names it."""
    settings: NotRequired[Mapping[str, Any]]
    """What the values set in the recipe, by dotted name; the values themselves if it is absent."""
    quantiles: NotRequired[Mapping[str, float]]
    """Where in its distribution each numeric value lies, from 0 to 1."""
    bracket: NotRequired[Count]
    """Which bracket of Hyperband it belongs to."""
    rung: NotRequired[Count]
    """The rung that it trains to first; 0 if it is absent."""


class Taken(TypedDict):
    """A worker trains a trial from here on."""

    event: Literal["taken"]
    trial: Count
    worker: Line
    until: Count | None
    """The step to pause after; None: to the end."""


class Reached(TypedDict):
    """A trial has committed a checkpoint at a rung, and waits."""

    event: Literal["reached"]
    trial: Count
    worker: Line
    step: Count
    value: float | None
    """The metric's value there; None: it is no number."""
    best: NotRequired[float | None]
    """The metric's best value until there, where the rule compares that (`Definition.strict`)."""
    seconds: float
    """How long the worker had the trial."""


class Finished(TypedDict):
    """A trial has trained to its end."""

    event: Literal["finished"]
    trial: Count
    worker: Line
    step: Count | None
    value: float | None
    seconds: float


class Released(TypedDict):
    """A worker has given a trial up, or is lost; nothing is known of the trial's worth. Another worker may take it."""

    event: Literal["released"]
    trial: Count
    worker: Line
    reason: Line
    step: NotRequired[Count | None]
    """The newest checkpoint's step."""
    seconds: float
    stopped: NotRequired[bool]
    """Whether the sweep itself asked for it."""


class Failed(TypedDict):
    """A trial has failed."""

    event: Literal["failed"]
    trial: Count
    worker: Line
    kind: FailureKind
    reason: Line
    step: NotRequired[Count | None]
    seconds: float


class Retried(TypedDict):
    """A failed trial may be taken again."""

    event: Literal["retried"]
    trial: Count


class Promoted(TypedDict):
    """A trial that waited at a rung goes on."""

    event: Literal["promoted"]
    trial: Count
    until: Count | None
    """The step of its next rung; None: to the end."""


class Joined(TypedDict):
    """A worker has begun."""

    event: Literal["joined"]
    worker: Line
    host: NotRequired[Line]
    accelerator: NotRequired[Line | None]
    dollars_per_hour: NotRequired[float]
    """What an hour of the worker costs; 0 where nobody knows."""
    trials_per_gpu: NotRequired[Count]


class Left(TypedDict):
    """A worker has gone, by itself or because it is lost."""

    event: Literal["left"]
    worker: Line
    reason: Line
    at: NotRequired[Time]
    """When it was last there, if that was before the entry."""


class StopRequested(TypedDict):
    """No trial is taken from here on, and those that run pause."""

    event: Literal["stop_requested"]
    reason: Line
    drain: NotRequired[bool]
    """Whether those that run may reach their next rung."""


class Resumed(TypedDict):
    """The sweep goes on."""

    event: Literal["resumed"]
    max_cost: NotRequired[float | None]
    max_hours: NotRequired[float | None]
    run_cap: NotRequired[Count]


class Changed(TypedDict):
    """What is drawn from here on comes from another space."""

    event: Literal["changed"]
    space: Mapping[str, Any]
    method: NotRequired[Line]
    run_cap: NotRequired[Count | None]


class Known(TypedDict):
    """A training outside of the sweep whose result counts."""

    event: Literal["known"]
    source: Line
    """Its run's id."""
    values: Mapping[str, Any]
    quantiles: NotRequired[Mapping[str, float]]
    step: Count | None
    value: float | None


class Ended(TypedDict):
    """The sweep is over; `Resumed` goes on with it."""

    event: Literal["ended"]
    state: Literal["succeeded", "failed", "stopped"]
    reason: Line


Event: TypeAlias = (
    Drawn
    | Taken
    | Reached
    | Finished
    | Released
    | Failed
    | Retried
    | Promoted
    | Joined
    | Left
    | StopRequested
    | Resumed
    | Changed
    | Known
    | Ended
)


class Entry(TypedDict):
    """``journal/<n>.json``: events that happened together. Written once."""

    version: Count
    """Of this format: 1."""
    number: Count
    """Counted from 1, as in the key."""
    at: Time
    """When, by the writer's clock."""
    by: Line
    """Who wrote it: a worker's name, or the host and process of a command."""
    token: Line
    """Makes the entry unlike any other, so that its writer knows it again."""
    events: list[Any]
    """Each an `Event`."""
