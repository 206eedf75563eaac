"""A run's details for its report, without a store."""

from typing import Any

from runner.reports.comparison import ComparedRun
from runner.reports.html.details import RunDetails
from runner.runs.attempts import Attempt
from runner.runs.status import RunStatus


def details(*, run: dict[str, Any] | None = None, **fields: Any) -> RunDetails:
    """The details of a run that has succeeded, as far as they are given.

    Args:
        run: fields of what it is compared by.
        fields: of the details.
    """
    status = RunStatus(run_id="first", recipe="small", state="succeeded", infra="local", created_at="2026-01-01")
    document = {"run_id": "first", "recipe": {}}
    compared = ComparedRun(status=status, **{"settings": {}, **(run or {})})
    return RunDetails(run=compared, **{"document": document, **fields})


def attempt(number: int, *, restored: Any = None, ended: Any = None) -> Attempt:
    """An attempt that has begun."""
    token = f"{number:04d}-aaaa"
    claim: Any = {"token": token, "number": number}
    return Attempt(number=number, token=token, claim=claim, began=True, restored=restored, ended=ended)
