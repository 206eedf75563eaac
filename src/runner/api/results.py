"""What came of a run, as a program reads it, and the error for a run that did not succeed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from runner.errors import UserError
from runner.runs.record_types.result import Best, Generation, Measured, Result
from runner.runs.status import RunStatus


class RunFailed(UserError):
    """A run that was waited for has not succeeded: it failed, was cancelled, or was interrupted and stays so.

    Args:
        status: the run's.
    """

    def __init__(self, status: RunStatus) -> None:
        self.status = status
        remedy = f'print(runner.Run("{status.run_id}").logs()) shows what it wrote'
        if status.state in ("failed", "interrupted"):
            remedy += f'; runner.resume("{status.run_id}") goes on from its last checkpoint'
        super().__init__(f"{status.state}: {status.reason or 'no reason is known'}", where=status.run_id, remedy=remedy)


@dataclass(frozen=True, kw_only=True)
class StageOutcome:
    """What a training has measured and made."""

    step: int | None
    """Optimizer steps taken."""
    max_steps: int | None
    """Optimizer steps in all."""
    before: Mapping[str, float | None]
    """Measurements of the model as it came (``eval_loss``, ``exact_match``, …); empty: it was not measured."""
    after: Mapping[str, float | None]
    """The same of the trained model."""
    generations: tuple[Generation, ...]
    """Completions of the recipe's prompts, before and after."""
    best: Best | None
    """The best evaluation; None where none is tracked."""
    artifacts: Mapping[str, str]
    """Keys within the run of what was made, by name."""
    tokens: int | None
    """Tokens trained on."""
    peak_memory_gib: float | None
    """What PyTorch took at most of the first GPU, in GiB."""

    @property
    def eval_loss(self) -> float | None:
        """The evaluation loss of the trained model."""
        return self.after.get("eval_loss")


@dataclass(frozen=True, kw_only=True)
class RunResult(StageOutcome, Mapping[str, Any]):
    """How a run ended. As a mapping, it has the fields of ``result.json`` unchanged."""

    run_id: str
    """The run's id."""
    state: Literal["succeeded", "failed", "cancelled"]
    """How it ended."""
    reason: str | None
    """Why it failed or was cancelled."""
    ended_at: str | None
    """When: ISO 8601, UTC."""
    attempts: int
    """The number of its last attempt."""
    cost: float | None
    """What all attempts have cost, in US dollars; None: no machine had a price."""
    duration_seconds: float | None
    """How long all attempts took."""
    device: str | None
    """What it was computed on, as in ``2 x NVIDIA A100``."""
    stages: Mapping[str, StageOutcome]
    """What each stage measured and made, by its name, of a run with stages."""
    record: Result
    """``result.json``."""

    def __getitem__(self, key: str) -> Any:
        """Return a field of ``result.json``."""
        return self.record[key]  # type: ignore[literal-required]

    def __iter__(self) -> Iterator[str]:
        return iter(self.record)

    def __len__(self) -> int:
        return len(self.record)


def result_from(run_id: str, record: Result) -> RunResult:
    """Read a run's ``result.json``."""
    return RunResult(
        **_outcome(record),
        run_id=run_id,
        state=record["state"],
        reason=record.get("reason"),
        ended_at=record.get("ended_at"),
        attempts=record.get("attempts", 0),
        cost=record.get("cost"),
        duration_seconds=record.get("duration_seconds"),
        device=record.get("device"),
        stages={stage["stage"]: StageOutcome(**_outcome(stage)) for stage in record.get("stages", ())},
        record=record,
    )


def _outcome(measured: Measured) -> dict[str, Any]:
    return {
        "step": measured.get("step"),
        "max_steps": measured.get("max_steps"),
        "before": measured.get("before") or {},
        "after": measured.get("after") or {},
        "generations": tuple(measured.get("generations", ())),
        "best": measured.get("best"),
        "artifacts": measured.get("artifacts") or {},
        "tokens": measured.get("tokens"),
        "peak_memory_gib": measured.get("peak_memory_gib"),
    }
