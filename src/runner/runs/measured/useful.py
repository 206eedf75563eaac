"""How much of the time that was paid for has led to what a run has: the rest was lost with machines, or spent twice.

Of the last attempt all counts, if it goes on or has brought the run to its end. Of any other one that the run goes on
from, the time to the last step that counts; of one that nobody has gone on from, the time to its last checkpoint. What
an attempt does before its first step (imports, the model, the rows, a restored checkpoint) counts once, for the first.
"""

from collections.abc import Sequence
from dataclasses import replace

from runner.runs.attempts import attempts
from runner.runs.checkpoints.lineage import Lineage, Position, checkpoints, lineage_of
from runner.runs.layout import token_number
from runner.runs.measured.spending import AttemptSpending, Spending, spending
from runner.runs.metrics import records_by_attempt
from runner.storage.manifest import Damaged
from runner.storage.store import Store

_TO_THE_END = ("succeeded", "running")

Step = tuple[Position, float]
"""A training step's position, and when it was taken: seconds since 1970, by the attempt's clock."""


def spending_with_use(store: Store, run_id: str) -> Spending:
    """Return what a run has cost so far, with the useful time of each attempt.

    The metrics are read for it, but of a run that needed one attempt only.

    Args:
        store: where the run lives.
        run_id: the run.

    Raises:
        DamagedRecord: a record cannot be trusted.
    """
    paid = spending(store, run_id)
    if len(paid.attempts) == 1 and paid.attempts[0].outcome in _TO_THE_END:
        only = paid.attempts[0]
        return Spending(attempts=(replace(only, useful_seconds=only.seconds),))
    lineage = lineage_of(attempts(store, run_id))
    try:
        records = records_by_attempt(store, run_id, lineage)
    except Damaged:
        return paid  # without its metrics nobody knows
    last = {token_number(segment.token): segment.last for segment in lineage.segments}
    steps = {
        token_number(token): [
            (lineage.position(record["stage"], record["step"]), record["time"])
            for record in found
            if record["kind"] == "train" and "time" in record
        ]
        for token, found in records.items()
    }
    newest = max(last, default=0)

    def useful(spent: AttemptSpending) -> float | None:
        if spent.number not in last:
            return 0.0
        to_the_end = spent.number == newest and spent.outcome in _TO_THE_END
        until = None if to_the_end else last[spent.number] or _last_saved(store, run_id, lineage, newest)
        if until is None and not to_the_end:
            return 0.0
        return useful_seconds(spent, steps.get(spent.number, []), until=until, again=spent.number != min(last))

    return Spending(attempts=tuple(replace(spent, useful_seconds=useful(spent)) for spent in paid.attempts))


def useful_seconds(
    spent: AttemptSpending, steps: Sequence[Step], *, until: Position | None, again: bool
) -> float | None:
    """Return how much of an attempt's time counts; None if it does not say when it began.

    Args:
        spent: its time.
        steps: those that it has taken, in order.
        until: the last one that counts; None: it counts to its end.
        again: whether another attempt before it has done what comes before the first step.
    """
    if spent.started_at is None:
        return None
    began = spent.started_at.timestamp()
    moments = [moment for position, moment in steps if until is None or position <= until]
    last = moments[-1] - began if moments else 0.0
    # An attempt's beginning and end are known to the second: its last step is no later than its end.
    end = last if until is not None else max(last, spent.seconds)
    begin = 0.0
    if again and moments:
        a_step = (moments[-1] - moments[0]) / (len(moments) - 1) if len(moments) > 1 else 0.0
        begin = moments[0] - a_step - began
    return min(spent.seconds, max(0.0, end - max(0.0, begin)))


def _last_saved(store: Store, run_id: str, lineage: Lineage, number: int) -> Position | None:
    """The position of an attempt's last checkpoint; None if it has none."""
    names = (name for name in checkpoints(store, run_id, lineage) if token_number(name.token) == number)
    name = next(names, None)
    return None if name is None else lineage.position(name.stage, name.step)
