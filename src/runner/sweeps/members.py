"""The trials, workers and rungs of a sweep, as its journal knows them."""

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

TrialState = Literal["ready", "running", "paused", "finished", "failed"]

WORST = math.inf
"""The score of a trial whose metric is no number: it is behind every other, and never goes on."""


@dataclass(kw_only=True)
class Trial:
    """One trial, as the journal knows it."""

    number: int
    values: Mapping[str, Any]
    """By parameter."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What they set in the recipe, by dotted name."""
    quantiles: Mapping[str, float] = field(default_factory=dict)
    bracket: int = 0
    """Hyperband's; 0 elsewhere."""
    state: TrialState = "ready"
    rung: int = 0
    """Which rung it is on its way to, or waits at; counted from 0."""
    worker: str | None = None
    """Who has it."""
    taken_at: str | None = None
    step: int = 0
    """The step of its newest known checkpoint."""
    scores: dict[int, float | None] = field(default_factory=dict)
    """The metric by rung, in the journal's own sign; None: no number."""
    value: float | None = None
    """The metric's newest value."""
    failure: str | None = None
    """Why it failed."""
    kind: str | None = None
    """The kind of the failure."""
    failures: int = 0
    """How often it has failed."""
    releases: int = 0
    """How often workers have lost it since it last got further."""
    interruptions: int = 0
    """How often workers have lost it in all."""
    seconds: float = 0.0
    """How long workers have had it."""
    cost: float = 0.0
    """What that cost, in US dollars."""
    after: int = 0
    """The journal's entry that its values were drawn after: what the search knew."""


@dataclass(kw_only=True)
class Worker:
    """One worker, as the journal knows it."""

    name: str
    joined_at: str
    left_at: str | None = None
    reason: str | None = None
    """Why it left."""
    host: str | None = None
    accelerator: str | None = None
    dollars_per_hour: float = 0.0


class Rung:
    """The trials that have reached a rung of a bracket, the best first.

    Equal scores are in the order of the trials' numbers; a score that is no number is behind all others.
    """

    def __init__(self) -> None:
        self.ranked: list[tuple[float, int]] = []
        """Score (less is better) and number of each trial that has reached it."""
        self.promoted: set[int] = set()
        """The trials that have gone on from it."""
        self.waiting: list[tuple[float, int]] = []
        """Those that have not, the best first."""

    def add(self, trial: int, score: float) -> None:
        """Note that a trial has reached it."""
        bisect.insort(self.ranked, (score, trial))
        bisect.insort(self.waiting, (score, trial))

    def promote(self, trial: int, score: float) -> None:
        """Note that a trial has gone on."""
        self.promoted.add(trial)
        place = bisect.bisect_left(self.waiting, (score, trial))
        if place < len(self.waiting) and self.waiting[place] == (score, trial):
            del self.waiting[place]

    def rank(self, trial: int, score: float) -> int:
        """A trial's place among those that have reached it, counted from 0."""
        return bisect.bisect_left(self.ranked, (score, trial))
