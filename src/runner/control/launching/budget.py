"""What a launch says of money: what a machine's hour costs, how much the run may cost, and whether that can be kept."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from runner.errors import UserError
from runner.runs.measured.budget import Budget, note_budget, read_budget
from runner.runs.measured.prices import HOURLY_COST_VARIABLE
from runner.runs.measured.spending import in_dollars, spending
from runner.runs.records import run_document
from runner.storage.store import Store


def chosen_budget(
    max_cost: float | None,
    hourly_cost: float | None,
    resources: Mapping[str, Any] | None,
    *,
    before: Budget | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Budget:
    """Put together what a launch says of money.

    Args:
        max_cost: ``--max-cost``; None: as before.
        hourly_cost: ``--hourly-cost``; None: as before, or for this machine what `HOURLY_COST_VARIABLE` says.
        resources: SkyPilot's `resources`; None for this machine.
        before: what counted before, for a run that goes on where it was.
        environ: the variables of this process.

    Raises:
        UserError: there is a limit, and nobody knows what the machines cost; or the variable is not an amount.
    """
    before = before or Budget()
    if hourly_cost is None and before.hourly_cost is None and not resources:
        hourly_cost = _stated(environ)
    budget = Budget(
        max_cost=before.max_cost if max_cost is None else max_cost,
        hourly_cost=before.hourly_cost if hourly_cost is None else hourly_cost,
    )
    if budget.max_cost is not None and budget.hourly_cost is None and not _has_prices(resources):
        raise UserError(
            f"nothing is known of what {'these machines cost' if resources else 'this machine costs'}, "
            "so that no limit can be kept",
            where="--max-cost",
            remedy="say what an hour of a machine costs: --hourly-cost 1.20",
        )
    return budget


def has_price(
    hourly_cost: float | None, resources: Mapping[str, Any] | None, *, environ: Mapping[str, str] = os.environ
) -> bool:
    """Whether it is known what an hour of a launch's machines costs, so that a limit can be kept.

    Raises:
        UserError: `HOURLY_COST_VARIABLE` is not an amount.
    """
    return hourly_cost is not None or (_has_prices(resources) if resources else _stated(environ) is not None)


def set_budget_again(
    store: Store,
    run_id: str,
    *,
    max_cost: float | None,
    hourly_cost: float | None,
    moves: bool,
    resources: Mapping[str, Any] | None,
    say: Callable[[str], None],
) -> None:
    """Record what counts from a run's next attempt on, if that is something else than before.

    Args:
        store: where the run lives.
        run_id: the run.
        max_cost, hourly_cost: as in `chosen_budget`.
        moves: whether it goes on elsewhere: then what a machine's hour costs does not stay.
        resources: the machines that it goes on on.
        say: receives what the run has cost so far.

    Raises:
        UserError: as `chosen_budget`; or the run has cost all that it may.
    """
    before = read_budget(store, run_document(store, run_id))
    stays = Budget(max_cost=before.max_cost, hourly_cost=None if moves else before.hourly_cost)
    budget = chosen_budget(max_cost, hourly_cost, resources, before=stays)
    if budget.max_cost is not None:
        spent = spending(store, run_id).dollars or 0.0
        if spent >= budget.max_cost:
            raise UserError(
                f"the run has cost {in_dollars(spent)} of the {in_dollars(budget.max_cost)} that it may",
                where=run_id,
                remedy=f"`runner resume {run_id} --max-cost {_more_than(spent):g}` lets it cost more",
            )
        say(f"{run_id} has cost {in_dollars(spent)} of {in_dollars(budget.max_cost)}, and ends when that is spent")
    if budget != before:
        note_budget(store, run_id, budget)


def describe_budget(budget: Budget, resources: Mapping[str, Any] | None, num_nodes: int) -> str | None:
    """Say in a sentence what a limit means in hours; None without a limit."""
    if budget.max_cost is None:
        return None
    hourly = [budget.hourly_cost] if budget.hourly_cost is not None else _hourly(resources)
    hours = sorted(budget.max_cost / (price * num_nodes) for price in hourly if price)
    if not hours:
        return None
    lasts = _hours(hours[0]) if _hours(hours[0]) == _hours(hours[-1]) else f"{_hours(hours[0])} to {_hours(hours[-1])}"
    return (
        f"it may cost {in_dollars(budget.max_cost)} in all, which lasts for {lasts}; then it saves, and is interrupted"
    )


def _hours(hours: float) -> str:
    if hours < 1 / 30:
        return f"{hours * 3600:.0f} s"
    return f"{hours * 60:.0f} min" if hours < 1.5 else f"{hours:.1f} h"


def _more_than(dollars: float) -> float:
    """A round amount above what was spent."""
    return float(f"{2 * dollars:.2g}") if dollars else 1.0


def _has_prices(resources: Mapping[str, Any] | None) -> bool:
    return bool(_hourly(resources))


def _hourly(resources: Mapping[str, Any] | None) -> list[float]:
    from runner.planning.offers import offered_prices  # not above: a run on this machine does without

    found = offered_prices(resources)
    return [] if found is None else [offer["dollars_per_hour"] for offer in found["offers"]]


def _stated(environ: Mapping[str, str]) -> float | None:
    text = environ.get(HOURLY_COST_VARIABLE, "").strip().removeprefix("$")
    if not text:
        return None
    try:
        dollars = float(text)
    except ValueError:
        dollars = -1.0
    if not 0 <= dollars < float("inf"):
        raise UserError(f"{text!r} is not an amount of dollars", where=HOURLY_COST_VARIABLE, remedy="write 1.20")
    return dollars or None
