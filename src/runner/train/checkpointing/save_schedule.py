"""When a checkpoint is due, when training stops early, and which run a trainer belongs to."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import EarlyStoppingCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from runner.recipe.recipe import Checkpoint
from runner.train.agent.preemption import PreemptionNotice
from runner.train.checkpointing.checkpointer import Checkpointer
from runner.train.devices.distributed import ProcessInfo
from runner.train.loggers.metrics_writer import Metrics

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RunBinding:
    """What a trainer has to know of the run that it belongs to."""

    stage: str
    """Name of the stage that it trains."""
    token: str
    """Token of the attempt that it is part of."""
    checkpoint: Checkpoint
    """When to save."""
    checkpointer: Checkpointer
    """Takes the checkpoints."""
    metrics: Metrics
    """Takes the metric records."""
    notice: PreemptionNotice
    """Tells whether the machine is going away."""
    process_info: ProcessInfo
    """This training process among all of the run."""
    layout: Mapping[str, Any]
    """What a checkpoint records about the processes that write it: `world_size`, `zero_stage`."""
    tracks_best: bool
    """Whether the best evaluation's checkpoint matters (`metric_for_best_model` or a similar setting is set)."""
    save_each_epoch: bool
    """Save at the end of each epoch too (`save_strategy: epoch`)."""
    logging_steps: float
    """transformers' `logging_steps`: a number of steps, or below 1 a fraction of all of them."""
    until_step: int | None = None
    """The optimizer step at which to pause, of the full length's; None: train to the end."""
    schedule_steps: int | None = None
    """The optimizer step at which the learning rate's schedule ends; None: at the last one."""
    schedule_from: int = 0
    """The optimizer step at which the learning rate's schedule begins: of an extended run, where the other ended."""
    kept_rows: Path | None = None
    """Where a sweep's worker keeps prepared rows for its next trials; None: nowhere."""
    finished: Sequence[Mapping[str, Any]] = ()
    """Records of the stages before this one. Each checkpoint holds them, so that a run can go on from it alone."""

    def is_logging_step(self, state: TrainerState) -> bool:
        """Whether trackers and the log get this step; the run's metrics have every step."""
        every = self.logging_steps if self.logging_steps >= 1 else math.ceil(state.max_steps * self.logging_steps)
        return state.global_step == 1 or state.global_step % int(every) == 0


class EarlyStopping(EarlyStoppingCallback):
    """transformers' own, without its warning that the best model is not loaded at the end: here it is loaded."""

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """Check nothing: the recipe's rules have checked the settings."""

    def on_evaluate(  # type: ignore[override]  # as in transformers, whose own two do not agree
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any, **kwargs: Any
    ) -> None:
        """Decide after each evaluation, and say so: a run of 30 steps that ends after 2 looks like a fault."""
        before = control.should_training_stop
        super().on_evaluate(args, state, control, metrics, **kwargs)
        stops = control.should_training_stop and not before and state.global_step < state.max_steps
        if stops and state.is_world_process_zero:
            count, metric = self.early_stopping_patience, str(args.metric_for_best_model).removeprefix("eval_")
            logger.info(
                f"stopped early at step {state.global_step} of {state.max_steps}: eval_{metric} has not improved in "
                f"{count} evaluation{'' if count == 1 else 's'} (training.early_stopping_patience)"
            )


class SaveSchedule(TrainerCallback):
    """A callback that asks for a save when one is due, and ends training at the boundary after a signal, or to pause.

    A save at the last step of an epoch, or of the training, waits for `on_epoch_end`: the evaluation there has to
    come before the checkpoint, or a run resumed from it would lack that evaluation.
    """

    def __init__(self, binding: RunBinding) -> None:
        self._binding = binding
        self._last_save = time.monotonic()
        self._deferred = False
        self.preempted_at: int | None = None
        """The step at which training was cut short, by a signal or to pause; None if it was not."""
        self.finished_at: int | None = None
        """The step at which its owner ended the training, to keep the model that it has; None if nobody did."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Decide after each optimizer step."""
        self._binding.checkpointer.check()
        last = control.should_training_stop
        # Each process has its own clock and signals, and all must decide alike.
        notice = self._binding.notice
        due, must_stop, finish = self._binding.process_info.any_rank(self._is_due(state), notice.given, notice.finish)
        if finish and not last:
            self.finished_at = state.global_step
            control.should_training_stop = last = True
        if due or last:
            if last or float(state.epoch).is_integer():
                self._deferred = True
            else:
                control.should_save = True
        # Of a pause no process has to be told: all count the same steps.
        if (must_stop or self._is_pause(state)) and not last:
            self.preempted_at = state.global_step
            control.should_training_stop = True
            if float(state.epoch).is_integer():
                self._deferred = True
            else:
                control.should_save = True

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Catch up on a deferred save. Also runs when an epoch was cut short."""
        if self.preempted_at is not None and not float(state.epoch).is_integer():
            # transformers evaluates here as if the epoch were over; the run that is not cut short would not.
            control.should_evaluate = False
            control.should_log = False
            return
        if self._deferred or self._binding.save_each_epoch:
            self._deferred = False
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Restart the clock of `save_minutes`."""
        self._last_save = time.monotonic()

    @property
    def paused_at(self) -> int | None:
        """The step at which training pauses; None if it does not."""
        until, step = self._binding.until_step, self.preempted_at
        return step if step is not None and until is not None and step >= until else None

    def _is_pause(self, state: TrainerState) -> bool:
        return self._binding.until_step is not None and state.global_step >= self._binding.until_step

    def _is_due(self, state: TrainerState) -> bool:
        checkpoint = self._binding.checkpoint
        if checkpoint.save_steps and state.global_step % checkpoint.save_steps == 0:
            return True
        if self._binding.checkpointer.is_overdue:
            return True  # the last save: it stays on this machine's disk
        minutes = checkpoint.save_minutes
        return minutes is not None and time.monotonic() - self._last_save >= 60 * minutes
