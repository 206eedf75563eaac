"""The records of what a run measured and made: ``result.json``, and the lines of ``metrics/``."""

from collections.abc import Mapping
from typing import Literal, NotRequired, TypedDict

from runner.runs.record_types.attempt import HardwareRecord
from runner.runs.record_types.rules import ArtifactKey, ArtifactName, Count, Line, StageName
from runner.runs.record_types.run import Replacement


class Generation(TypedDict):
    """A completion of one prompt before training and after it."""

    prompt: str
    """The recipe's prompt."""
    before: str
    """What the model as it came made of it."""
    after: str
    """What the trained model makes of it."""


class Best(TypedDict):
    """The best evaluation of a stage."""

    step: int
    """Its step."""
    metric: Line | None
    """Which metric is compared."""
    value: float | None
    """Its value there."""


class StartedFrom(TypedDict):
    """What a stage started from, by keys of artifacts."""

    base: ArtifactKey | None
    """A model; None: the recipe's."""
    adapter: ArtifactKey | None
    """An adapter that it went on training; None: a new one, if any."""


class DroppedRecord(TypedDict):
    """Rows of one entry of the data that were left out for one reason."""

    entry: Line
    """The entry (``data.train.0``)."""
    reason: Line
    """Why, as in "3 without messages"."""
    rows: Count
    """How many."""
    of: Count
    """How many rows the entry had."""
    first: Count
    """The number of the first of them, counted from 1: its line in a file of lines, else its row."""


class Measured(TypedDict):
    """What a result says of a training, for the run or for one of its stages."""

    step: NotRequired[Count | None]
    """Optimizer steps taken."""
    max_steps: NotRequired[Count | None]
    """Optimizer steps in all."""
    before: NotRequired[Mapping[str, float | None] | None]
    """Measurements of the model as it came; None: it was not measured."""
    after: NotRequired[Mapping[str, float | None] | None]
    """The same of the trained model."""
    generations: NotRequired[list[Generation]]
    """Completions of the recipe's prompts."""
    dropped_rows: NotRequired[list[DroppedRecord]]
    """Rows that were not trained or measured on, and why; not there in results of older versions."""
    best: NotRequired[Best | None]
    """The best evaluation; None where none is tracked."""
    artifacts: NotRequired[Mapping[ArtifactName, ArtifactKey]]
    """Keys within the run of what was made, by name."""
    tokens: NotRequired[Count | None]
    """Tokens trained on; None where the trainer does not count them."""
    rows_used: NotRequired[Count]
    """Rows of the training mixture."""
    rows_dropped: NotRequired[Count]
    """Rows of ``data.train`` that were left out; `dropped_rows` says why."""
    trainable_parameters: NotRequired[Count]
    """Weights that were trained."""
    total_parameters: NotRequired[Count]
    """Those and the frozen ones."""
    peak_memory_gib: NotRequired[float | None]
    """What PyTorch took at most of the first GPU, in the last attempt; None without a GPU."""


class StageResult(Measured):
    """What the result of a run with stages says of one of them."""

    stage: StageName
    """Its name."""
    method: NotRequired[Line]
    """How it was trained."""
    started_from: NotRequired[StartedFrom]
    """What it started from."""


class Result(Measured):
    """``result.json``: how the run ended. Written once."""

    state: Literal["succeeded", "failed", "cancelled"]
    """Never changes."""
    reason: NotRequired[str | None]
    """Why it failed or was cancelled."""
    ended_at: NotRequired[Line | None]
    """When."""
    attempts: NotRequired[Count]
    """The number of the last attempt; 0: it ended before one began."""
    stage: NotRequired[StageName | None]
    """The stage that it ended in, of a run with stages."""
    stage_number: NotRequired[Count | None]
    """That stage's place, from 1."""
    stages: NotRequired[list[StageResult]]
    """All stages, of a run with stages that succeeded."""
    hardware: NotRequired[HardwareRecord]
    """What it was computed with at last."""
    cost: NotRequired[float | None]
    """What all attempts have cost, in US dollars; None: no machine had a price. `runner cost` has the details."""
    replaced: NotRequired[list[Replacement]]
    """Which reward files were replaced on the way, and from which attempt on."""
    duration_seconds: NotRequired[float]
    """How long all attempts took, as far as they have recorded it."""
    versions: NotRequired[Mapping[Line, Line]]
    """Every distribution that was installed where the run succeeded: its version by its name."""
    device: NotRequired[Line]
    """The GPUs of the last attempt's head, as in ``2 x NVIDIA A100``; ``cpu`` without one."""
    driver: NotRequired[Line | None]
    """NVIDIA's driver there."""
    checkpoint_stall_seconds: NotRequired[float]
    """How long training stood still for checkpoints, in the last attempt."""


class TextSample(TypedDict):
    """A completion in the record of an evaluation."""

    prompt: str
    """The recipe's prompt."""
    text: str
    """What the model made of it."""


class MetricRecord(TypedDict):
    """A line of ``metrics/…jsonl``; further fields are the trainer's own metrics."""

    kind: Line
    """``train`` or ``eval``."""
    stage: StageName
    """The stage that it is of."""
    step: Count
    """The stage's step."""
    phase: NotRequired[Line]
    """Of an evaluation: ``before``, ``during`` or ``after`` training."""
    time: NotRequired[float]
    """When, in seconds since 1970."""
    loss: NotRequired[float | None]
    """The training loss."""
    eval_loss: NotRequired[float | None]
    """The evaluation loss."""
    exact_match: NotRequired[float | None]
    """The share of right answers."""
    learning_rate: NotRequired[float | None]
    """Of this step."""
    grad_norm: NotRequired[float | None]
    """Of this step, before clipping."""
    tokens_per_second: NotRequired[float | None]
    """Training speed."""
    not_finite: NotRequired[Mapping[Line, Line]]
    """Which values that are null here were ``NaN``, ``Infinity`` or ``-Infinity``: JSON has no such numbers."""
    generations: NotRequired[list[TextSample]]
    """Completions of the recipe's prompts, before and after training."""
