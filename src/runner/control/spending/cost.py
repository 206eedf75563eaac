"""Add up what runs and sweeps have cost: idle and failed time included, running ones so far.

The trials of a sweep are counted once, by the hours of its workers: those have waited, too.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from runner.control.sweeping.find import sweep_definitions
from runner.runs.listing import list_runs, look_at
from runner.runs.marks.marks import read_marks
from runner.runs.measured.budget import read_budget
from runner.runs.measured.spending import AttemptSpending, Spending
from runner.runs.measured.useful import spending_with_use
from runner.runs.records import run_document
from runner.runs.status import RunStatus
from runner.storage.manifest import Damaged
from runner.storage.store import NotFound, Store
from runner.sweeps.definition import Definition
from runner.sweeps.journal import Journal

Group = Literal["recipe", "tag", "gpu", "infra", "state", "month"]
GROUPS: tuple[Group, ...] = ("recipe", "tag", "gpu", "infra", "state", "month")

_READERS = 32
_NONE = "-"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a run or a sweep has cost."""

    name: str
    """Its id."""
    kind: Literal["run", "sweep"]
    state: str
    """A run's state; a sweep's: ``ended`` or ``running``."""
    recipe: str
    """The name of its recipe."""
    infra: str
    gpu: str
    """What it was launched on: ``L4:1``; ``-``: no GPU was asked for."""
    month: str
    """When it was launched: ``2026-11``."""
    tags: tuple[str, ...] = ()
    attempts: tuple[AttemptSpending, ...] = ()
    """A run's attempts."""
    seconds: float
    """The time of all machines."""
    dollars: float | None
    """US dollars; None: nothing of it has a price."""
    unpriced_seconds: float
    """The time of machines that have no price."""
    lost_seconds: float
    """Of the time of the machines, that of attempts that did not end as they should: killed, interrupted, failed."""
    useful_seconds: float | None = None
    """Of the time of the machines, that which has led to what a run has; None: not known."""
    useful_dollars: float | None = None
    """What that has cost; None: not known, or it has no price."""
    sources: tuple[str, ...] = ()
    """Whose prices they are."""
    max_cost: float | None = None
    """The most that it may cost."""
    forecast: float | None = None
    """What it will have cost in the end, if it goes on as now; None: it does not run, or nobody knows."""

    def keys(self, group: Group) -> Sequence[str]:
        """What it is counted under. A run with several tags counts under each of them."""
        if group == "tag":
            return self.tags or (_NONE,)
        return (str(getattr(self, group)),)


@dataclass(frozen=True, kw_only=True)
class Total:
    """What several have cost together."""

    key: str
    count: int
    seconds: float
    dollars: float | None
    unpriced_seconds: float


def cost_of_run(store: Store, status: RunStatus, *, since: datetime | None = None) -> Cost:
    """Return what a run has cost so far, or since a moment.

    Raises:
        NotFound: it was deleted.
        DamagedRecord: a record cannot be trusted.
    """
    spent = spending_with_use(store, status.run_id)
    attempts = spent.attempts
    if since is not None:
        attempts = tuple(clipped for attempt in attempts if (clipped := _since(attempt, since)) is not None)
        spent = Spending(attempts=attempts)
    dollars = spent.dollars
    forecast = None
    if status.state == "running" and status.eta_seconds is not None and status.cost_per_hour:
        forecast = (dollars or 0.0) + status.eta_seconds / 3600 * status.cost_per_hour
    return Cost(
        name=status.run_id,
        kind="run",
        state=status.shown_state,
        recipe=status.recipe,
        infra=status.infra,
        gpu=_gpu(status.accelerators),
        month=status.created_at[:7],
        tags=tuple(sorted(read_marks(store, status.run_id).tags)),
        attempts=attempts,
        seconds=spent.machine_seconds,
        dollars=dollars,
        unpriced_seconds=spent.unpriced_seconds,
        useful_seconds=spent.useful_machine_seconds,
        useful_dollars=spent.useful_dollars,
        lost_seconds=sum(
            each.seconds * each.machines for each in attempts if each.outcome not in ("succeeded", "running")
        ),
        sources=spent.sources,
        max_cost=read_budget(store, run_document(store, status.run_id)).max_cost,
        forecast=forecast,
    )


def cost_of_sweep(store: Store, definition: Definition) -> Cost:
    """Return what the workers of a sweep have cost so far.

    Raises:
        DamagedRecord: its journal cannot be trusted.
    """
    state = Journal(store, definition, by="a reader").catch_up()
    now = datetime.now(UTC)
    seconds, dollars = 3600 * state.attendance.machine_hours(now), state.spent(now)
    trained = sum(trial.seconds for trial in state.trials.values())
    return Cost(
        name=definition.sweep_id,
        kind="sweep",
        state="running" if state.ended is None else "ended",
        recipe=str(definition.resolved.get("name") or definition.name),
        infra=definition.infra,
        gpu=_gpu(definition.accelerators),
        month=definition.created_at[:7],
        seconds=seconds,
        dollars=dollars or None,
        unpriced_seconds=0.0 if dollars else seconds,
        lost_seconds=max(0.0, seconds - trained),
        max_cost=state.limits.get("max_cost", definition.max_cost),
    )


def costs(
    store: Store,
    run_ids: Collection[str] = (),
    *,
    since: datetime | None = None,
    on_damaged: Callable[[str, Damaged], None] = lambda name, error: None,
) -> list[Cost]:
    """Return what runs have cost, and sweeps, the newest first.

    Args:
        store: where they live.
        run_ids: these runs only; empty: all runs and sweeps, and of the trials of a sweep the sweep.
        since: only what was spent since then. Of a sweep all counts if it was begun since then, else nothing.
        on_damaged: called with the id and the error of what is left out because a record of it cannot be trusted.
    """
    if run_ids:
        statuses, definitions = list(look_at(store, run_ids, on_damaged=on_damaged)), []
    else:
        definitions = sweep_definitions(store, on_damaged=on_damaged)
        sweeps = {definition.sweep_id for definition in definitions}
        statuses = [
            status for status in list_runs(store, on_damaged=on_damaged) if not _is_trial(status.run_id, sweeps)
        ]
    if since is not None:
        definitions = [each for each in definitions if datetime.fromisoformat(each.created_at) >= since]
        statuses = [status for status in statuses if not _ended_before(status, since)]

    def of_run(status: RunStatus) -> Cost | Damaged | None:
        try:
            return cost_of_run(store, status, since=since)
        except NotFound:
            return None
        except Damaged as error:
            return error

    def of_sweep(definition: Definition) -> Cost | Damaged:
        try:
            return cost_of_sweep(store, definition)
        except Damaged as error:
            return error

    found = []
    with ThreadPoolExecutor(_READERS, thread_name_prefix="costs") as readers:
        names = [definition.sweep_id for definition in definitions] + [status.run_id for status in statuses]
        results = [*readers.map(of_sweep, definitions), *readers.map(of_run, statuses)]
    for name, cost in zip(names, results, strict=True):
        if isinstance(cost, Damaged):
            on_damaged(name, cost)
        elif cost is not None:
            found.append(cost)
    return found


def totals(found: Sequence[Cost], group: Group) -> list[Total]:
    """Add up by what they have in common, the dearest first."""
    keys = dict.fromkeys(key for cost in found for key in cost.keys(group))
    sums = [total([cost for cost in found if key in cost.keys(group)], key) for key in keys]
    return sorted(sums, key=lambda each: (-(each.dollars or 0.0), -each.seconds, each.key))


def total(found: Sequence[Cost], key: str = "total") -> Total:
    """Add up all."""
    known = [cost.dollars for cost in found if cost.dollars is not None]
    return Total(
        key=key,
        count=len(found),
        seconds=sum(cost.seconds for cost in found),
        dollars=sum(known) if known else None,
        unpriced_seconds=sum(cost.unpriced_seconds for cost in found),
    )


def _since(attempt: AttemptSpending, since: datetime) -> AttemptSpending | None:
    """The part of an attempt after a moment; None if it ended before."""
    from dataclasses import replace

    if attempt.started_at is None or attempt.started_at >= since:
        return attempt
    seconds = attempt.seconds - (since - attempt.started_at).total_seconds()
    if seconds <= 0:
        return None
    share = seconds / attempt.seconds
    dollars = None if attempt.dollars is None else attempt.dollars * share
    return replace(attempt, seconds=seconds, dollars=dollars, useful_seconds=None)  # which part was useful, nobody says


def _ended_before(status: RunStatus, since: datetime) -> bool:
    try:
        return status.ended_at is not None and datetime.fromisoformat(status.ended_at) < since
    except (ValueError, TypeError):
        return False


def _is_trial(run_id: str, sweeps: Collection[str]) -> bool:
    sweep_id, _, number = run_id.rpartition("-")
    return sweep_id in sweeps and number.isdecimal()


def _gpu(accelerators: Mapping[str, float] | None) -> str:
    return " or ".join(f"{name}:{count:g}" for name, count in (accelerators or {}).items()) or _NONE


def rows(found: Sequence[Cost]) -> Iterator[dict[str, object]]:
    """Yield what `cost --json` lists of each."""
    for cost in found:
        yield {
            "name": cost.name,
            "kind": cost.kind,
            "state": cost.state,
            "recipe": cost.recipe,
            "infra": cost.infra,
            "gpu": cost.gpu,
            "tags": list(cost.tags),
            "dollars": None if cost.dollars is None else round(cost.dollars, 6),
            "machine_seconds": round(cost.seconds, 1),
            "unpriced_seconds": round(cost.unpriced_seconds, 1),
            "lost_seconds": round(cost.lost_seconds, 1),
            "useful_seconds": None if cost.useful_seconds is None else round(cost.useful_seconds, 1),
            "useful_dollars": None if cost.useful_dollars is None else round(cost.useful_dollars, 6),
            "max_cost": cost.max_cost,
            "forecast": None if cost.forecast is None else round(cost.forecast, 6),
            "sources": list(cost.sources),
            "attempts": [
                {
                    "number": attempt.number,
                    "outcome": attempt.outcome,
                    "seconds": round(attempt.seconds, 1),
                    "useful_seconds": None if attempt.useful_seconds is None else round(attempt.useful_seconds, 1),
                    "machines": attempt.machines,
                    "dollars_per_hour": attempt.price,
                    "dollars": None if attempt.dollars is None else round(attempt.dollars, 6),
                    "source": attempt.source,
                }
                for attempt in cost.attempts
            ],
        }
