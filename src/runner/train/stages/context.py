"""What a training script is given: the recipe, its place in the store, and how to speak to the attempt."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from runner.recipe.recipe import Recipe
from runner.recipe.strategy import layout
from runner.runs.artifacts import ArtifactStore
from runner.runs.attempts import Claim, attempts, fence, write_hardware
from runner.runs.checkpoint_files import read_runner_state
from runner.runs.layout import CheckpointName, checkpoint_prefix
from runner.runs.lineage import checkpoints
from runner.runs.metrics import read_metrics
from runner.runs.record_types.attempt import HardwareRecord
from runner.runs.record_types.result import MetricRecord
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
"""TRL's default."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """One attempt at one stage."""

    recipe: Recipe
    """What to train: the stage's recipe; its model is where the stage starts from."""
    store: Store
    """Where the run lives."""
    claim: Claim
    """Which attempt of which run this is."""
    folder: Path
    """The attempt's own folder on this machine."""
    shared_folder: Path
    """A folder on this machine that all attempts of the run share."""
    cache: Path
    """A folder on this machine that all runs share, for builtin models."""
    restored: Path | None
    """The checkpoint to go on from, downloaded and verified; None: begin at the beginning."""
    events: Events
    """To the attempt."""
    notice: PreemptionNotice
    """From the attempt."""
    metrics: Metrics
    """Takes records."""
    checkpointer: Checkpointer
    """Takes checkpoints."""
    process_info: ProcessInfo = field(default_factory=ProcessInfo)
    """The other training processes of the run."""
    finish_seconds: float = DEFAULT_TIMING.finish
    """How long the end of the training waits for a store that does not answer, before a later attempt does the rest."""
    split: Sequence[int] | None = None
    """Micro-batch and accumulation that the run was left with when it ran out of memory; None: it has not."""
    adapter: Path | None = None
    """The adapter of the stage before, which this one goes on training; None: a new one, if any."""
    following: Recipe | None = None
    """The stage after this one; None: this is the last."""
    finished: Sequence[Mapping[str, Any]] = ()
    """What `runner.train.stages.run` knows of the stages before this one, in order."""
    measures_only: bool = False
    """Nothing is trained: of the training data only so much is made ready as a trainer asks for."""

    @property
    def stage(self) -> str:
        """The stage's name in the store; without stages the method's."""
        return self.recipe.stage_name

    def lineage(self, *, tracks_best: bool) -> RunBinding:
        """What ties a trainer to this run."""
        return RunBinding(
            stage=self.stage,
            token=self.claim.token,
            checkpoint=self.recipe.checkpoint,
            checkpointer=self.checkpointer,
            metrics=self.metrics,
            notice=self.notice,
            process_info=self.process_info,
            layout=layout(self.recipe.training, self.process_info.world_size),
            tracks_best=tracks_best,
            save_each_epoch=self.recipe.training.get("save_strategy") == "epoch",
            logging_steps=float(self.recipe.training.get("logging_steps") or LOGGING_STEPS),
            finished=self.finished,
        )

    @property
    def is_complete(self) -> bool:
        """Whether the checkpoint to go on from is that of a training that had ended."""
        return self.restored is not None and bool(read_runner_state(self.restored)["complete"])

    def run_document(self) -> RunDocument:
        """The run's ``run.json``."""
        return self._try(lambda: run_document(self.store, self.claim.run_id))

    def input_path(self, key: str) -> Path:
        """The local copy of a file that the run brought along (``inputs/<digest>/<name>``)."""
        path = self.shared_folder / key
        if not path.exists():
            self._try(lambda: self.store.download(f"runs/{self.claim.run_id}/{key}", path))
        return path

    def fetch_checkpoint(self, step: int) -> Path:
        """Download one checkpoint of this stage from the store.

        Raises:
            FileNotFoundError: it is not there (deleted by hand: pruning spares the best).
        """
        name = self._checkpoint_at(step)
        folder = self.folder / "fetched" / str(name)
        with self.process_info.local_main_process_first() as first:
            if first:
                self._try(lambda: fetch(self.store, checkpoint_prefix(self.claim.run_id, name), folder))
        return folder

    @cached_property
    def artifact_store(self) -> ArtifactStore:
        """Where the run's artifacts stand."""
        return ArtifactStore(
            self.store,
            self.claim.run_id,
            self.claim.token,
            self.folder,
            trusted=self._equals,
            before_manifest=lambda: fence(self.store, self.claim),
            call=self._try,
        )

    def commit_artifact(self, name: str, make: Callable[[Path], None], *, keep: bool = False) -> str:
        """Make an artifact in a folder and put it into the store; returns its key in the run.

        An artifact that an earlier attempt has made of the very same end of training is not made again.

        Args:
            name: the artifact's name.
            make: writes the files into the folder that it is given.
            keep: leave the files here, for `fetch_artifact`.
        """
        return self.artifact_store.commit(name, make, keep=keep)

    def record_hardware(self, record: HardwareRecord) -> None:
        """Record the hardware and kernels of this attempt at the stage.

        Args:
            record: what `runner.train.devices.kernels.computed_with` returned.
        """
        if self.measures_only:
            return
        self._try(lambda: write_hardware(self.store, self.claim, self.stage, record))

    def fetch_artifact(self, key: str) -> Path:
        """The local copy of a committed artifact of this run, verified; `key` is what `commit_artifact` returned.

        Raises:
            NotFound, Damaged: it is not in the store as it was put there.
        """
        with self.process_info.local_main_process_first():
            return self.artifact_store.folder(key)

    def copy_shared(self, name: str, folder: Path) -> None:
        """Copy what lies in the shared folder `name` into `folder`, but for links (W&B's to its newest run)."""

        def links(parent: str, names: list[str]) -> set[str]:
            return {name for name in names if Path(parent, name).is_symlink()}

        shutil.copytree(self.shared_folder / name, folder, dirs_exist_ok=True, ignore=links)

    def metrics_so_far(self) -> list[MetricRecord]:
        """The stage's records, of the attempts that this one goes on from."""
        records = self._try(lambda: read_metrics(self.store, self.claim.run_id))
        return [record for record in records if record["stage"] == self.stage]

    def before_and_after(self) -> dict[str, Any]:
        """What the result says of the stage: `before`, `after` and `generations`, whichever attempt measured them."""
        self._try(self.metrics.flush)
        records = {
            record["phase"]: record
            for record in self.metrics_so_far()
            if record["kind"] == "eval" and record["phase"] in ("before", "after")
        }
        return compared(records)

    def _equals(self) -> list[str]:
        """The earlier attempts whose artifacts are this one's too: this one goes on from the end of training, and they
        either wrote that checkpoint or went on from it."""
        if not self.is_complete:
            return []
        known = self._try(lambda: attempts(self.store, self.claim.run_id))
        end = next(attempt.restored for attempt in known if attempt.token == self.claim.token)
        if end is None or end.stage != self.stage:
            return []
        tokens = [one.token for one in known if one.number < self.claim.number and one.restored == end]
        return [*reversed(tokens), end.token]

    def _checkpoint_at(self, step: int) -> CheckpointName:
        for name in self._try(lambda: checkpoints(self.store, self.claim.run_id)):
            if name.stage == self.stage and name.step == step:
                return name
        raise FileNotFoundError(f"no checkpoint of step {step} is in the store any more")

    def _try(self, call: Callable[[], T]) -> T:
        return retry_store_call(call, until=after(self.finish_seconds))


def compared(records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """`before`, `after` and `generations` as a result has them, from the records of the two evaluations, if any."""
    before, after = records.get("before"), records.get("after")
    generations = [
        {"prompt": old["prompt"], "before": old["text"], "after": new["text"]}
        for old, new in zip(before["generations"] if before else (), after["generations"] if after else (), strict=True)
    ]
    return {"before": _measured(before), "after": _measured(after), "generations": generations}


_MEASURED = (
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
"""What of a measurement stands in the result, where the method has it."""


def _measured(record: Mapping[str, Any] | None) -> dict[str, float] | None:
    return None if record is None else {name: record[name] for name in _MEASURED if name in record}
