"""A sweep's file: W&B's sweep configuration, and what W&B lacks under `runner:`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from runner.recipe.recipe import Json

Goal: TypeAlias = Literal["minimize", "maximize"]
Method: TypeAlias = Literal["grid", "random", "bayes"]
Impute: TypeAlias = Literal["latest", "best", "worst"]
Scheduler: TypeAlias = Literal["none", "successive_halving", "asha", "hyperband", "stop"]
Schedule: TypeAlias = Literal["full", "rung"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What trials are compared by."""

    name: str
    """Its name in a run's records: ``eval_loss`` (in the file also ``eval/loss``), ``loss`` (``train/loss``)."""
    goal: Goal = "minimize"
    """Whether less of it is better, or more."""
    target: float | None = None
    """The sweep ends when a finished trial is at least as good."""
    impute: Impute = "worst"
    impute_while_running: Literal["latest", "best", "worst", "false"] = "false"
    """W&B's two, for the value of trials without one. Not used: such trials are told to the search as what they are."""


@dataclass(frozen=True, kw_only=True)
class EarlyTerminate:
    """W&B's hyperband. One iteration is one logged value of the metric: one evaluation."""

    min_iter: int | None = None
    """The first iteration at which trials are compared; then its multiples by `eta`."""
    max_iter: int | None = None
    """With `s`: trials are compared at max_iter / eta, … / eta^s."""
    s: int | None = None
    eta: float = 3.0
    """One of so many goes on."""
    strict: bool = True
    """Hold the value at the iteration against the others'; false: the best so far, by the scheduler ``stop``."""


@dataclass(frozen=True, kw_only=True)
class RunnerSection:
    """The key `runner:`, what W&B's file has no place for. None: chosen, and said."""

    parallel: int | None = None
    """How many trials train at once."""
    gpu: tuple[str, ...] = ()
    """Accelerators that may be taken, as for `--gpu`."""
    infra: tuple[str, ...] = ()
    """Clouds, regions, clusters or backends that may be taken, as for `--infra`."""
    use_spot: bool | None = None
    """Whether machines are spot machines."""
    max_hourly_cost: float | None = None
    """The most that a machine may cost, in US dollars an hour."""
    trials_per_gpu: int | None = None
    """Trials that share a GPU."""
    gpus_per_trial: int | None = None
    """GPUs that a trial trains on."""
    max_cost: float | None = None
    """The most that the sweep may cost, in US dollars."""
    max_hours: float | None = None
    """The most hours of the clock in which the sweep has workers."""
    rungs: tuple[int, ...] | None = None
    """The steps at which trials pause and are compared, ascending; the last may be left out: `training.max_steps`."""
    eta: float | None = None
    """One of so many goes on from a rung."""
    scheduler: Scheduler | None = None
    """Who goes on after a rung; `none`: every trial is trained to its end."""
    schedule: Schedule = "full"
    """The learning rate's schedule is the whole length's from the start, or a rung's."""
    seed: int = 42
    """Of all that is drawn."""
    retries: int = 2
    """How often a trial that failed is tried again."""
    set: Mapping[str, Json] = field(default_factory=dict)
    """Settings of the recipe for all trials, by dotted path."""


@dataclass(frozen=True, kw_only=True)
class SweepFile:
    """A sweep's file, checked by itself: whether it suits the recipe is checked by `load_sweep`."""

    name: str
    """The sweep's name: the file's own, or that of the file."""
    description: str | None = None
    recipe: str
    """The recipe as it is written: `program`, or `recipe`."""
    method: Method
    """How values are drawn."""
    metric: Metric | None = None
    """None: the file names none; `LoadedSweep.metric` has the one that is taken then."""
    early_terminate: EarlyTerminate | None = None
    run_cap: int | None = None
    """The most trials."""
    parameters: Mapping[str, Json]
    """The tree as it was read."""
    runner: RunnerSection = field(default_factory=RunnerSection)

    @property
    def eta(self) -> float:
        """One of so many goes on: `runner.eta`, or `early_terminate`'s, or 3."""
        if self.runner.eta is not None:
            return self.runner.eta
        return self.early_terminate.eta if self.early_terminate else 3.0
