"""Gather what the report of a single run shows."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from runner.control.results.compare import compare
from runner.control.results.comparing.choose import Chosen
from runner.control.results.provenance import Provenance
from runner.reports.comparison import ComparedRun
from runner.reports.html.details import RunDetails
from runner.reports.html.runs_page import runs_page
from runner.runs.attempts import attempts
from runner.runs.measured.machine import read_machines
from runner.runs.measured.spending import Spending
from runner.runs.measured.system import read_system, thin
from runner.runs.measured.useful import spending_with_use
from runner.runs.metrics import read_metrics
from runner.runs.record_types.result import Result
from runner.runs.records import run_document, run_result
from runner.storage.atomic import atomic_write
from runner.storage.manifest import Damaged
from runner.storage.store import NotFound, Store

T = TypeVar("T")


def run_details(store: Store, run: ComparedRun, *, on_damaged: Callable[[str, Damaged], None]) -> RunDetails:
    """Read a run's records; what cannot be read is left out.

    Args:
        store: where the run lives.
        run: the run, as `compare` has read it.
        on_damaged: called with the run's id and the error of each part that cannot be read.

    Raises:
        NotFound, Damaged: ``run.json`` cannot be read.
    """
    run_id = run.run_id

    def read(part: Callable[[], T], otherwise: T) -> T:
        try:
            return part()
        except NotFound:
            return otherwise
        except Damaged as error:
            on_damaged(run_id, error)
            return otherwise

    result: Result | None = read(lambda: run_result(store, run_id), None)
    inputs = Provenance(store, run_id).inputs()
    lengths = {stage: known for stage, record in inputs.items() if (known := record.get("lengths"))}
    return RunDetails(
        run=run,
        document=run_document(store, run_id),
        result=result or {},
        records=read(lambda: read_metrics(store, run_id), []),
        attempts=read(lambda: attempts(store, run_id), []),
        spending=read(lambda: spending_with_use(store, run_id), Spending(attempts=())),
        machines=read(lambda: read_machines(store, run_id), {}),
        lengths=lengths,
        system=thin(read(lambda: read_system(store, run_id), [])),
    )


def write_run_report(store: Store, run_id: str, path: Path, *, on_damaged: Callable[[str, Damaged], None]) -> None:
    """Write the report of a single run; arguments as for `run_details`."""
    comparison = compare(store, Chosen(run_ids=[run_id], sweeps={}, left_out={}), on_damaged=on_damaged)
    details = run_details(store, comparison.runs[0], on_damaged=on_damaged)
    with atomic_write(path) as part:
        part.write_text(runs_page(comparison, details), encoding="utf-8")
