"""What a run's owner says of money: what a machine's hour costs, and how much the run may cost."""

from dataclasses import dataclass

from runner.runs.layout import BUDGET, numbered_key, run_key
from runner.runs.record_types.money import BudgetRecord
from runner.runs.record_types.run import RunDocument
from runner.runs.records import encoded, find_record, numbered_records, utc_now
from runner.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What counts now."""

    max_cost: float | None = None
    """The most that all attempts together may cost, in US dollars; None: any."""
    hourly_cost: float | None = None
    """What an hour of one machine costs by the owner's own account, in US dollars; None: not said."""

    def to_record(self) -> BudgetRecord:
        """The fields of a `BudgetRecord` that are said."""
        record = BudgetRecord()
        if self.max_cost is not None:
            record["max_cost"] = self.max_cost
        if self.hourly_cost is not None:
            record["hourly_cost"] = self.hourly_cost
        return record


def read_budget(store: Store, document: RunDocument) -> Budget:
    """What counts for a run: the newest record, else what ``run.json`` says.

    Args:
        store: where the run lives.
        document: its ``run.json``.

    Raises:
        DamagedRecord: the record cannot be trusted.
    """
    run_id = document["run_id"]
    number = max(numbered_records(store, run_key(run_id, BUDGET)), default=0)
    record = find_record(store, numbered_key(run_id, BUDGET, number), BudgetRecord) if number else None
    if record is None:
        record = document.get("budget") or BudgetRecord()
    return Budget(max_cost=record.get("max_cost"), hourly_cost=record.get("hourly_cost"))


def note_budget(store: Store, run_id: str, budget: Budget) -> None:
    """Record what counts from the next attempt on."""
    number = max(numbered_records(store, run_key(run_id, BUDGET)), default=0) + 1
    record = {"max_cost": budget.max_cost, "hourly_cost": budget.hourly_cost, "set_at": utc_now()}
    while not store.create(numbered_key(run_id, BUDGET, number), encoded({"number": number, **record})):
        number += 1
