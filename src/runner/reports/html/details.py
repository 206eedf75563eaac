"""All that the report of a single run shows besides what runs are compared by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.reports.comparison import ComparedRun
from runner.runs.attempts import Attempt
from runner.runs.measured.spending import Spending
from runner.runs.record_types.measured import LengthsRecord


@dataclass(frozen=True, kw_only=True)
class RunDetails:
    """A run's own records (`runner.control.results.report` gathers them). What is missing is empty."""

    run: ComparedRun
    """What it is compared by."""
    document: Mapping[str, Any]
    """``run.json``."""
    result: Mapping[str, Any] = field(default_factory=dict)
    """``result.json``; empty before the run's end."""
    records: Sequence[Mapping[str, Any]] = ()
    """Its metrics, in the order of `read_metrics`."""
    attempts: Sequence[Attempt] = ()
    """The oldest first."""
    spending: Spending = field(default_factory=lambda: Spending(attempts=()))
    """Time and dollars by attempt."""
    machines: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """`MachineRecord` by the attempt's number."""
    lengths: Mapping[str, LengthsRecord] = field(default_factory=dict)
    """How long the examples of each stage are, where it is known."""
    system: Sequence[Mapping[str, Any]] = ()
    """`SystemRecord`, by time."""
