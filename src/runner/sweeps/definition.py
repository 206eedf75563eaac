"""What a sweep is: ``sweep.json``, written once when it is launched."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from runner import __version__
from runner.errors import UserError
from runner.runs.record_types.check import Mismatch
from runner.runs.record_types.rules import Size, Time
from runner.runs.records import DamagedRecord, decoded, encoded
from runner.storage.store import Store
from runner.sweeps.fields import check_fields
from runner.sweeps.layout import SWEEP, sweep_key

Goal = Literal["minimize", "maximize"]
Scheduler = Literal["none", "successive_halving", "asha", "hyperband", "stop"]
Method = Literal["grid", "random", "bayes"]


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A sweep as it was launched. `runner.sweeps.state` has what has changed since."""

    sweep_id: str
    """The sweep's id, which is also its folder, and W&B's group."""
    name: str
    """The sweep file's name for it."""
    created_at: str
    """When it was launched (ISO 8601, UTC)."""
    runner_version: str
    """The version that launched it."""
    file: Mapping[str, Any]
    """The sweep file as it was read."""
    method: Method
    """How values are drawn."""
    seed: int
    """Of all that is drawn."""
    space: Mapping[str, Any]
    """`runner.sweeps.space.space.Space.to_mapping`."""
    metric: str
    """The metric's name in the records of a run, such as ``eval_loss``."""
    goal: Goal
    """Whether less of it is better, or more."""
    target: float | None = None
    """The sweep ends when a finished trial is at least as good."""
    run_cap: int | None
    """The most trials; None: as many as the space (a grid) or the budget has."""
    scheduler: Scheduler
    """Who goes on after a rung; ``none``: every trial is trained to its end."""
    rungs: Sequence[int] = ()
    """Steps at which trials pause, ascending, without the last step of all."""
    max_steps: int | None = None
    """Steps of a trial that is trained to its end; None: unknown before it trains."""
    schedule: Literal["full", "rung"] = "full"
    """Whether the learning rate's schedule is the whole length's from the start, or that of the next rung."""
    eta: float = 3.0
    """One of so many goes on from a rung."""
    strict: bool = True
    """Of the scheduler ``stop``: whether a trial is held by its value at the rung; false: by its best so far."""
    retries: int = 2
    """How often a trial that failed is tried again."""
    max_cost: float | None = None
    """The most that the sweep may cost, in US dollars."""
    max_hours: float | None = None
    """The most hours of the clock in which the sweep has workers."""
    resolved: Mapping[str, Any] = field(default_factory=dict)
    """The recipe as a run of it without any drawn value would have it in ``run.json``."""
    recipe: Mapping[str, Any]
    """The recipe as it was written, with the sweep's own settings; local files are named ``inputs/<digest>/<name>``."""
    paths: Mapping[str, str] = field(default_factory=dict)
    """Where each of those files was on the machine of the launch, by its name in the recipe."""
    recipe_name: str
    """Its file's name, for messages."""
    recipe_digest: str
    """Of the recipe's file as it was read, to tell whether it has changed since."""
    git_revision: str | None = None
    """Of the recipe's folder."""
    infra: str = "local"
    """Where trials run, as ``run.json`` says it."""
    accelerators: Mapping[str, float] | None = None
    resources: Mapping[str, Any] | None = None
    num_nodes: int = 1
    image: str | None = None
    """See `PlacementRecord`, as the three above."""
    parallel: int = 1
    """How many workers are started."""
    gpus_per_trial: int = 1
    """GPUs that a trial trains on."""
    trials_per_gpu: int = 1
    """Trials that share a GPU."""
    prices: Mapping[str, float] = field(default_factory=dict)
    """US dollars an hour of a machine, by accelerator; of several offers the dearest that may be taken."""

    @property
    def sign(self) -> int:
        """What a metric's value is multiplied with so that less is better."""
        return 1 if self.goal == "minimize" else -1

    def steps_of_rungs(self) -> list[int | None]:
        """Where a trial trains to, rung after rung; the last is None: to its end."""
        return [*self.rungs, None]

    def to_mapping(self) -> dict[str, Any]:
        """The definition in JSON."""
        return {"version": 1, **asdict(self)}


def write_definition(store: Store, definition: Definition) -> bool:
    """Write ``sweep.json``; from then on the sweep exists. False: there is one of that id."""
    return store.create(sweep_key(definition.sweep_id, SWEEP), encoded(definition.to_mapping()))


def read_definition(store: Store, sweep_id: str) -> Definition:
    """Read ``sweep.json``. What a newer version has added is left out.

    Raises:
        NotFound: there is no such sweep.
        DamagedRecord: it cannot be trusted.
    """
    key = sweep_key(sweep_id, SWEEP)
    record = decoded(key, store.get(key), dict)
    try:
        definition = Definition(**check_fields(Definition, record, created_at=Time, rungs=list[Size]))
    except Mismatch as mismatch:
        raise DamagedRecord(key, str(mismatch)) from mismatch
    if definition.sweep_id != sweep_id:
        raise DamagedRecord(key, f"it is sweep {definition.sweep_id!r}'s")
    ends = [*definition.rungs, *([] if definition.max_steps is None else [definition.max_steps])]
    if any(end <= start for start, end in itertools.pairwise(ends)):
        raise DamagedRecord(key, f"its rungs do not ascend: {ends}")
    if not definition.eta > 1:
        raise DamagedRecord(key, f"`eta` is {definition.eta}")
    return definition


def refuse_other_version(definition: Definition) -> None:
    """Refuse a sweep that another version launched: its trials would not be comparable, or could not be read.

    Raises:
        UserError: the version differs by more than a patch.
    """
    theirs, ours = definition.runner_version.split(".")[:2], __version__.split(".")[:2]
    if theirs != ours:
        raise UserError(
            f"the sweep was launched by runner {definition.runner_version}, and this worker is {__version__}",
            where=definition.sweep_id,
            remedy="use an image, or an environment, with the version that launched it",
        )
