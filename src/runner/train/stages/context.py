"""What a training script works with: the attempt that it is part of, and the stage that it trains."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NotRequired, TypedDict, TypeVar

from runner.recipe.recipe import Recipe
from runner.recipe.strategy import layout
from runner.runs.artifacts import ArtifactStore
from runner.runs.attempts import Claim, attempts, fence, write_hardware
from runner.runs.checkpoints.files import read_runner_state
from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.checkpoints.origins import extension
from runner.runs.inputs import fetch_input
from runner.runs.layout import CheckpointName, checkpoint_prefix
from runner.runs.metrics import read_metrics
from runner.runs.record_types.attempt import HardwareRecord
from runner.runs.record_types.result import DroppedRecord, MetricRecord
from runner.runs.record_types.run import RunDocument
from runner.runs.records import run_document
from runner.storage.commit import fetch
from runner.storage.retry import after, retry_store_call
from runner.storage.store import Store
from runner.train.agent.events import Events
from runner.train.agent.preemption import PreemptionNotice
from runner.train.agent.timing import DEFAULT_TIMING
from runner.train.checkpointing.checkpointer import Checkpointer
from runner.train.checkpointing.save_schedule import RunBinding
from runner.train.devices.distributed import ProcessInfo
from runner.train.loggers.metrics_writer import Metrics

T = TypeVar("T")

LOGGING_STEPS = 10
"""TRL's default for ``logging_steps``."""

_MEASUREMENTS = (
    "eval_loss",
    "perplexity",
    "exact_match",
    "exact_match_samples",
    "eval_rewards/accuracies",
    "eval_rewards/margins",
    "eval_reward",
    "eval_completions/mean_length",
    "samples_per_second",
)
"""The values of an evaluation that the result has, where the method gives them."""


class StageStart(TypedDict):
    """What a stage starts from, by keys of artifacts."""

    base: str | None
    """The model; None for the recipe's own."""
    adapter: str | None
    """The adapter that the stage goes on training; None if it makes a new one, or none."""


class StageFigures(TypedDict, total=False):
    """What a stage counted, as its result has it; not there in checkpoints of older versions."""

    tokens: int | None
    """Tokens trained on."""
    rows_used: int
    """Rows of the mixture."""
    rows_dropped: int
    """Training rows that were left out."""
    trainable_parameters: int
    """Weights that were trained."""
    total_parameters: int
    """Those and the frozen ones."""
    peak_memory_gib: float | None
    """The most that PyTorch took of the first GPU."""


class FinishedStage(StageFigures):
    """The record of a finished stage, as each checkpoint of a later stage holds it."""

    stage: str
    """The stage's name in the store."""
    method: str
    """Its method."""
    step: int | None
    """Optimizer steps taken."""
    max_steps: int | None
    """Optimizer steps planned."""
    best: dict[str, Any] | None
    """Its best evaluation (``step``, ``metric``, ``value``), where one is tracked."""
    dropped_rows: NotRequired[list[DroppedRecord]]
    """The rows that it was not trained on, and why; not there in checkpoints of older versions."""
    artifacts: dict[str, str]
    """Keys of its artifacts by name."""
    started_from: StageStart
    """What it started from."""
    leaves: StageStart | None
    """What the next stage starts from; None for the last stage."""


@dataclass(frozen=True, kw_only=True)
class AttemptContext:
    """One attempt at a run, as one of its training processes sees it. All stages of the attempt share it."""

    store: Store
    """The store that holds the run."""
    claim: Claim
    """Which attempt of which run this is."""
    folder: Path
    """The attempt's own folder on this machine."""
    shared_folder: Path
    """A folder on this machine that all attempts of the run share."""
    cache: Path
    """A folder on this machine that all runs share, for built-in models."""
    events: Events
    """Tells the agent how the training goes."""
    notice: PreemptionNotice
    """Tells whether the machine is going away."""
    metrics: Metrics
    """Takes metric records."""
    checkpointer: Checkpointer
    """Takes checkpoints."""
    process_info: ProcessInfo = field(default_factory=ProcessInfo)
    """This training process among all of the run."""
    finish_seconds: float = DEFAULT_TIMING.finish
    """How long the end of the training waits for a store that does not answer, before a later attempt does the rest."""
    until_step: int | None = None
    """The optimizer step of the run's last stage at which it pauses; None: train to the end."""
    schedule_steps: int | None = None
    """The step at which the learning rate's schedule of the last stage ends; None: at its last step."""
    kept_rows: Path | None = None
    """Where a sweep's worker keeps prepared rows for its next trials; None: nowhere."""
    split: Sequence[int] | None = None
    """Micro-batch and accumulation of the step that ran out of memory and was split; None if none has."""

    def retry(self, call: Callable[[], T]) -> T:
        """Make a request to the store, again and again for `finish_seconds` while the store does not answer."""
        return retry_store_call(call, until=after(self.finish_seconds))

    def run_document(self) -> RunDocument:
        """Return the run's ``run.json``."""
        return self.retry(lambda: run_document(self.store, self.claim.run_id))

    def input_path(self, key: str) -> Path:
        """Return the local copy of a file that was uploaded with the recipe (``inputs/<digest>/<name>``).

        Raises:
            Damaged: it is not what the run was launched with.
        """
        return fetch_input(self.store, self.claim.run_id, key, self.shared_folder, call=self.retry)

    def artifact_store(self, reusable_tokens: Callable[[], Sequence[str]] = tuple) -> ArtifactStore:
        """Return access to the run's artifacts.

        Args:
            reusable_tokens: gives the attempts whose artifacts need not be made again, the newest first.
        """
        return ArtifactStore(
            self.store,
            self.claim.run_id,
            self.claim.token,
            self.folder,
            trusted=reusable_tokens,
            before_manifest=lambda: fence(self.store, self.claim),
            call=self.retry,
        )

    def fetch_artifact(self, key: str) -> Path:
        """Return the local copy of a committed artifact of this run, verified.

        Args:
            key: what `StageContext.commit_artifact` returned.

        Raises:
            NotFound, Damaged: the store does not have it as it was committed.
        """
        with self.process_info.local_main_process_first():
            return self.artifact_store().folder(key)

    def copy_shared(self, name: str, folder: Path) -> None:
        """Copy the shared folder `name` into `folder`, without links (W&B's link to its newest run)."""

        def links(parent: str, names: list[str]) -> set[str]:
            return {name for name in names if Path(parent, name).is_symlink()}

        shutil.copytree(self.shared_folder / name, folder, dirs_exist_ok=True, ignore=links)

    def metrics_so_far(self, stage: str) -> list[MetricRecord]:
        """Return the records of a stage, from this attempt and those that it goes on from."""
        records = self.retry(lambda: read_metrics(self.store, self.claim.run_id))
        return [record for record in records if record["stage"] == stage]

    def before_and_after(self, stage: str) -> dict[str, Any]:
        """Return `before`, `after` and `generations` of a stage's result, whichever attempt measured them."""
        self.retry(self.metrics.flush)
        records = {
            record["phase"]: record
            for record in self.metrics_so_far(stage)
            if record["kind"] == "eval" and record["phase"] in ("before", "after")
        }
        if "before" not in records and (other := extension(self.run_document())) is not None:
            # It began with the model that the other run had measured at its end.
            theirs = self.retry(lambda: read_metrics(self.store, other["run_id"]))
            ended = [one for one in theirs if one["stage"] == stage and one.get("phase") == "after"]
            records |= {"before": ended[-1]} if ended else {}
        return compare_evaluations(records)


@dataclass(frozen=True, kw_only=True)
class StageContext:
    """One stage, as one attempt trains it."""

    attempt: AttemptContext
    """The attempt."""
    recipe: Recipe
    """The stage's recipe, fitted to the devices; its model is what the stage starts from."""
    adapter: Path | None = None
    """The adapter of the stage before, which this stage goes on training; None for a new one, or none."""
    restored: Path | None = None
    """The checkpoint of this stage to go on from, downloaded and verified; None to begin at its first step."""
    following: Recipe | None = None
    """The next stage; None if this is the last."""
    finished: Sequence[FinishedStage] = ()
    """The stages before this one, in order."""
    measures_only: bool = False
    """Only measure the model: load as few training rows as a trainer accepts."""

    @property
    def stage(self) -> str:
        """The stage's name in the store: without stages, the method's."""
        return self.recipe.stage_name

    @property
    def is_complete(self) -> bool:
        """Whether the checkpoint to go on from was taken after the last step."""
        return self.restored is not None and bool(read_runner_state(self.restored)["complete"])

    @property
    def until_step(self) -> int | None:
        """The step of this stage to pause at; None: train to its end, as all stages before the last."""
        return self.attempt.until_step if self.following is None and not self.measures_only else None

    def run_binding(self, *, tracks_best: bool) -> RunBinding:
        """Return what a trainer has to know of its run.

        Args:
            tracks_best: whether the best evaluation's checkpoint matters.
        """
        attempt, training = self.attempt, self.recipe.training
        return RunBinding(
            stage=self.stage,
            token=attempt.claim.token,
            checkpoint=self.recipe.checkpoint,
            checkpointer=attempt.checkpointer,
            metrics=attempt.metrics,
            notice=attempt.notice,
            process_info=attempt.process_info,
            layout=layout(training, attempt.process_info.world_size),
            tracks_best=tracks_best,
            save_each_epoch=training.get("save_strategy") == "epoch",
            logging_steps=float(training.get("logging_steps") or LOGGING_STEPS),
            until_step=self.until_step,
            schedule_steps=self.attempt.schedule_steps if self.following is None else None,
            schedule_from=self._schedule_from(),
            kept_rows=self.attempt.kept_rows,
            finished=self.finished,
        )

    def _schedule_from(self) -> int:
        """The step at which the learning rate's schedule begins: 0, but for an extended run."""
        if self.following is not None or self.measures_only:
            return 0
        lineage = extension(self.attempt.run_document())
        return 0 if lineage is None else lineage.get("step", 0)

    def fetch_checkpoint(self, step: int) -> Path:
        """Download one checkpoint of this stage from the store.

        Raises:
            FileNotFoundError: the store no longer has it (deleted by hand: pruning spares the best).
        """
        attempt = self.attempt
        run_id, name = self._checkpoint_at(step)
        folder = attempt.folder / "fetched" / str(name)
        with attempt.process_info.local_main_process_first() as first:
            if first:
                attempt.retry(lambda: fetch(attempt.store, checkpoint_prefix(run_id, name), folder))
        return folder

    @cached_property
    def artifact_store(self) -> ArtifactStore:
        """The run's artifacts; those that an earlier attempt made of the same end of training are not made again."""
        return self.attempt.artifact_store(self._reusable_tokens)

    def commit_artifact(self, name: str, make: Callable[[Path], None], *, keep: bool = False) -> str:
        """Make an artifact in a folder and put it into the store; return its key in the run.

        An artifact that an earlier attempt made of the same end of training is not made again.

        Args:
            name: the artifact's name.
            make: writes the files into the folder that it is given.
            keep: leave the files on this machine, for `AttemptContext.fetch_artifact`.
        """
        return self.artifact_store.commit(name, make, keep=keep)

    def record_hardware(self, record: HardwareRecord) -> None:
        """Record the hardware and kernels that this attempt trains the stage with.

        Args:
            record: what `runner.train.devices.kernels.hardware_record` returned.
        """
        if self.measures_only:
            return
        store, claim = self.attempt.store, self.attempt.claim
        self.attempt.retry(lambda: write_hardware(store, claim, self.stage, record))

    def metrics_so_far(self) -> list[MetricRecord]:
        """Return the stage's records, from this attempt and those that it goes on from."""
        return self.attempt.metrics_so_far(self.stage)

    def before_and_after(self) -> dict[str, Any]:
        """Return `before`, `after` and `generations` of the stage's result."""
        return self.attempt.before_and_after(self.stage)

    def _reusable_tokens(self) -> list[str]:
        """The earlier attempts whose artifacts this one can take, the newest first.

        This attempt goes on from the end of training; they wrote that checkpoint or went on from it too.
        """
        if not self.is_complete:
            return []
        store, claim = self.attempt.store, self.attempt.claim
        all_attempts = self.attempt.retry(lambda: attempts(store, claim.run_id))
        end = next(attempt.restored for attempt in all_attempts if attempt.token == claim.token)
        if end is None or end.stage != self.stage:
            return []
        earlier = [attempt for attempt in all_attempts if attempt.number < claim.number and attempt.restored == end]
        return [*(attempt.token for attempt in reversed(earlier)), end.token]

    def _checkpoint_at(self, step: int) -> tuple[str, CheckpointName]:
        """The checkpoint of a step, and the run that has it: this one, or one that it extends."""
        store, run_id = self.attempt.store, self.attempt.claim.run_id
        runs = [run_id]
        while (lineage := extension(self.attempt.retry(lambda: run_document(store, runs[-1])))) is not None:
            if lineage["run_id"] in runs:
                break
            runs.append(lineage["run_id"])
            if step > lineage.get("step", 0):
                break
        for other in runs:
            for name in self.attempt.retry(lambda other=other: checkpoints(store, other)):  # type: ignore[misc]
                if name.stage == self.stage and name.step == step:
                    return other, name
        raise FileNotFoundError(f"no checkpoint of step {step} is in the store any more")


def compare_evaluations(records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return `before`, `after` and `generations` as a result has them.

    Args:
        records: the records of the evaluations ``before`` and ``after`` training, as far as they were made.
    """
    before, after = records.get("before"), records.get("after")
    generations = (
        [
            {"prompt": old["prompt"], "before": old["text"], "after": new["text"]}
            for old, new in zip(before["generations"], after["generations"], strict=True)
        ]
        if before and after
        else []
    )
    return {"before": _measurements(before), "after": _measurements(after), "generations": generations}


def _measurements(record: Mapping[str, Any] | None) -> dict[str, float] | None:
    return None if record is None else {name: record[name] for name in _MEASUREMENTS if name in record}
