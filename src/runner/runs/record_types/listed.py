"""What a store remembers of its ended runs, for listings."""

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict

from runner.runs.record_types.rules import Count, Line, RunId, Time


class ListedRuns(TypedDict):
    """``listed/ended-runs.json.gz``: what was read of runs that have ended. A hint; each entry is checked by itself."""

    fields: list[str]
    """The fields that the version which wrote it lists: a listing that has others reads the records."""
    runs: list[Any]
    """`ListedRun` each."""


class ListedRun(TypedDict):
    """One of them: the fields of its `RunStatus` that are not the default."""

    run_id: RunId
    recipe: Line
    state: Literal["succeeded", "failed", "cancelled"]
    infra: Line
    created_at: Time
    retry: bool
    reason: NotRequired[Line | None]
    accelerators: NotRequired[Mapping[Line, float] | None]
    step: NotRequired[Count | None]
    max_steps: NotRequired[Count | None]
    stage: NotRequired[Line | None]
    stage_number: NotRequired[Count | None]
    stage_count: NotRequired[Count | None]
    attempts: NotRequired[Count]
    ended_at: NotRequired[Line | None]
    eval_loss: NotRequired[float | None]
    device: NotRequired[Line | None]
    cost: NotRequired[float | None]
    exit_code: NotRequired[int | None]
    reopened: NotRequired[Count]
