"""The records of the machines that attempts ran on, and of what their stages were trained with."""

from typing import TypeVar

from runner.runs.layout import attempt_key, run_key
from runner.runs.record_types.measured import InputsRecord, MachineRecord
from runner.runs.records import encoded, find_hint, numbered_records
from runner.storage.store import Store

T = TypeVar("T")


def write_machine(store: Store, run_id: str, number: int, record: MachineRecord) -> None:
    """Record the machine of an attempt's head. The first record stands."""
    store.create(attempt_key(run_id, number, "machine"), encoded(record))


def read_machines(store: Store, run_id: str) -> dict[int, MachineRecord]:
    """The machines of a run by the attempt's number; one that is missing or damaged is left out."""
    return _by_number(store, run_id, "machine", MachineRecord)


def write_inputs(store: Store, run_id: str, number: int, stage: str, record: InputsRecord) -> None:
    """Record what an attempt trains a stage with. The first record stands."""
    store.create(attempt_key(run_id, number, f"inputs-{stage}"), encoded(record))


def read_inputs(store: Store, run_id: str, stage: str) -> dict[int, InputsRecord]:
    """What a stage was trained with, by the attempt's number; what is missing or damaged is left out."""
    return _by_number(store, run_id, f"inputs-{stage}", InputsRecord)


def _by_number(store: Store, run_id: str, kind: str, record_type: type[T]) -> dict[int, T]:
    numbers = numbered_records(store, run_key(run_id, "attempts/"))
    found = {
        number: find_hint(store, attempt_key(run_id, number, kind), record_type)
        for number, kinds in sorted(numbers.items())
        if kind in kinds
    }
    return {number: record for number, record in found.items() if record is not None}
