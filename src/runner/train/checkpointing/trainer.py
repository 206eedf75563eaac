"""What is added to a TRL trainer so that a run that was killed ends as if it had not been killed.

`ResumableTrainerMixin` goes in front of any of TRL's trainers: ``class ResumableSFTTrainer(ResumableTrainerMixin,
SFTTrainer)``. It decides when to save (the trainer's own `save_strategy` is off), saves through the `Checkpointer`,
writes one metric record for each step, tracks the best model, and restores what transformers and TRL lose on a resume.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import Trainer, TrainerState, TrainingArguments
from transformers.trainer_utils import SchedulerType

from runner.errors import UserError
from runner.runs.checkpoints.files import TRAINER_STATE, method_state_file, read_runner_state
from runner.runs.layout import CheckpointName
from runner.train.checkpointing.divergence import DivergenceWatch, TrainingDiverged
from runner.train.checkpointing.save_schedule import RunBinding, SaveSchedule
from runner.train.checkpointing.state import capture, capture_shard, rank_state, without_ties
from runner.train.checkpointing.zero import is_zero3, load_zero3_weights
from runner.train.devices.out_of_memory import OutOfMemory, is_out_of_memory, short_reason
from runner.train.evaluation.measure import preserve_state
from runner.train.finite import name_some, not_finite, trained_weights
from runner.train.loggers.stall_watch import StallWatch

logger = logging.getLogger(__name__)

_WITHOUT_WARMUP = ("constant", "reduce_lr_on_plateau", "greedy")
"""transformers' schedulers that take no notice of `warmup_steps`."""


class ResumableTrainerMixin(Trainer):
    """Exact resume for a TRL trainer class, to be put before it; see the module.

    Args:
        binding: the run that it belongs to. All other arguments are the trainer's own.
    """

    def __init__(self, *args: Any, binding: RunBinding, **kwargs: Any) -> None:
        self.binding = binding
        self.schedule = SaveSchedule(binding)
        self._hooked_optimizer: object | None = None
        self._step_ended = time.perf_counter()
        self._tokens_before = 0
        self._saving_seconds = 0.0
        self._evaluating = False
        self._preserves_state = True
        self._finished_early = False
        self._divergence = DivergenceWatch()
        self._stall = StallWatch()
        self.fingerprint: Mapping[str, str] = {}
        """Digests of rows and tokenizer, from `runner.train.checkpointing.fingerprint`; each checkpoint holds them."""
        super().__init__(*args, **kwargs)
        self.add_callback(self.schedule)

    @property
    def is_complete(self) -> bool:
        """Whether training ended by itself (all steps done, or stopped early), not by a signal."""
        return self.control.should_training_stop and self.schedule.preempted_at is None

    @property
    def was_finished_early(self) -> bool:
        """Whether its owner has ended the training before its last step, in this attempt or an earlier one."""
        return self._finished_early or self.schedule.finished_at is not None

    # -- one record for each step --------------------------------------------------------------------------------

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as the trainer does, and write the record to the run's metrics.

        Raises:
            TrainingDiverged: too many steps in a row had a loss or gradients that are not finite.
        """
        super().log(logs, start_time)
        if self.binding.process_info.is_main_process:
            self._record(logs)
        if "loss" in logs:
            # The loss is the mean over all processes, and the gradients are too: all of them end here, or none.
            skipped = bool(self.accelerator.optimizer_step_was_skipped)
            self._divergence.observe(self.state.global_step, logs["loss"], logs.get("grad_norm"), skipped=skipped)

    def _record(self, logs: dict[str, float]) -> None:
        if "loss" in logs:
            now = time.perf_counter()
            tokens = logs.get("num_tokens")
            if tokens is not None:
                logs["tokens_per_second"] = (tokens - self._tokens_before) / (now - self._step_ended)
                self._tokens_before = int(tokens)
            self.binding.metrics.train_step(self.state.global_step, self.state.max_steps, logs)
            if self.binding.is_logging_step(self.state):
                logger.info(f"step {self.state.global_step}/{self.state.max_steps}: {_format_values(logs)}")
            warning = self._stall.observe(self.state.global_step, logs, max_steps=self.state.max_steps)
            if warning is not None:
                logger.warning(warning)
        elif any(key.startswith("eval_") for key in logs):
            self.binding.metrics.evaluation(self.state.global_step, logs)
            phase = self.binding.metrics.phase
            when = f"at step {self.state.global_step}" if phase == "during" else f"{phase} training"
            logger.info(f"evaluation {when}: {_format_values(logs)}")

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        super()._maybe_log_save_evaluate(*args, **kwargs)
        if self._globalstep_last_logged == self.state.global_step:
            self._tr_loss.zero_()  # transformers subtracts it from itself, and infinity stays infinite or becomes NaN
        self._step_ended = time.perf_counter()

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        prepared = super()._prepare_for_training(*args, **kwargs)
        if self.binding.process_info.world_size > 1 and self.model_wrapped is self.model:
            raise RuntimeError("the model is not shared by the training processes: each would train by itself")
        return prepared

    # -- signs of life -------------------------------------------------------------------------------------------

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Compute a micro-batch as the trainer does, and report that it is done."""
        loss = super().training_step(*args, **kwargs)
        self.binding.metrics.batch_done()
        return loss

    def prediction_step(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate a batch as the trainer does, and report that it is done."""
        predicted = super().prediction_step(*args, **kwargs)
        self.binding.metrics.batch_done()
        return predicted

    # -- memory ----------------------------------------------------------------------------------------------------

    @contextmanager
    def recognize_out_of_memory(self) -> Iterator[None]:
        """Within, raise the error of a training step or an evaluation that ran out of memory as such.

        Raises:
            OutOfMemory: a training step ran out of memory.
            UserError: an evaluation did; its batch size is the recipe's to set.
        """
        try:
            yield
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if self._evaluating:
                raise UserError(
                    f"memory ran out in an evaluation ({short_reason(error)})",
                    where="training.per_device_eval_batch_size",
                    remedy=f"Write less than {self.args.per_device_eval_batch_size}.",
                ) from error
            split = (self.args.per_device_train_batch_size, self.args.gradient_accumulation_steps)
            at = f"in step {self.state.global_step + 1}"
            raise OutOfMemory(f"memory ran out {at} ({short_reason(error)})", split) from error

    # -- the best model ------------------------------------------------------------------------------------------

    def _evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        was_stopping = self.control.should_training_stop
        self.control.should_training_stop = False
        self._evaluating = True
        # How often a run is evaluated must not change what it learns.
        with preserve_state(self.model) if self._preserves_state else nullcontext():
            metrics: dict[str, float] = super()._evaluate(*args, **kwargs)
        self._evaluating = False
        if self.control.should_training_stop:
            # Early stopping: this is the last state, even if SIGTERM has come in the same step.
            self.schedule.preempted_at = None
            self.control.should_save = True
        self.control.should_training_stop |= was_stopping
        return metrics

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        is_new_best: bool = super()._determine_best_metric(metrics, trial)
        if is_new_best and self.binding.tracks_best:
            self.state.best_global_step = self.state.global_step
            self.control.should_save = True
        return is_new_best

    # -- weights that are worth keeping ---------------------------------------------------------------------------

    def check_weights(self) -> None:
        """Check that the weights in training are finite. Called by all training processes together.

        Raises:
            TrainingDiverged: they are not, in any process.
        """
        names = not_finite(trained_weights(self.model))
        [is_bad] = self.binding.process_info.any_rank(bool(names))
        if is_bad:
            which = name_some(names) if names else "those of another process"
            step = self.state.global_step
            what = f"weights are infinite or not a number at step {step} ({which})"
            raise TrainingDiverged(what, last_good=max(0, step - 2))

    # -- saving and resuming -------------------------------------------------------------------------------------

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        step = self.state.global_step
        name = CheckpointName(self.binding.stage, step, self.binding.token)
        if name == self.binding.checkpointer.last_saved:
            return
        began = time.perf_counter()
        self.check_weights()
        self.store_flos()
        runner_state = {
            "version": 1,
            "stage": self.binding.stage,
            "step": step,
            "max_steps": self.state.max_steps,
            "complete": self.is_complete,
            "finished_early": self.was_finished_early,
            "best": self.best(),
            "total_train_tokens": getattr(self, "_total_train_tokens", 0),
            "evaluation_preserves_state": self._preserves_state,
            "stall": self._stall.state(),
            **self.binding.layout,
            "made_from": dict(self.fingerprint),
            "finished": list(self.binding.finished),
        }
        checkpointer, process_info = self.binding.checkpointer, self.binding.process_info
        best_step = self.state.best_global_step if self.binding.tracks_best else None
        rank_states = process_info.gather_object(rank_state(self, self.method_state()))
        state = None
        if self.is_deepspeed_enabled:
            # Checkpoints that a later attempt may load without training on, to evaluate or to export.
            with_weights = runner_state["complete"] or best_step == step
            folder = checkpointer.staging / str(name)
            state = capture_shard(
                self, folder, runner_state=runner_state, rank_states=rank_states, with_weights=with_weights
            )
        elif process_info.is_main_process:
            state = capture(self, runner_state=runner_state, rank_states=rank_states)
        if state is None:
            checkpointer.last_saved = name
        else:
            self._hook_optimizer()
            metadata = {key: runner_state[key] for key in ("complete", "best", "max_steps", *self.binding.layout)}
            checkpointer.save(state, name, best_step=best_step, metadata=metadata)
        self._saving_seconds += time.perf_counter() - began

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Make the schedule of the learning rate as the trainer does, or one that ends at the rung of a sweep."""
        steps, begin = self.binding.schedule_steps, self.binding.schedule_from
        steps = num_training_steps if steps is None else steps
        scheduler = super().create_scheduler(max(1, steps - begin), optimizer)
        if begin and isinstance(scheduler, LambdaLR):
            scheduler.lr_lambdas = [_shifted(factor, begin) for factor in scheduler.lr_lambdas]
        return scheduler

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Load both; of a schedule that is another now, the learning rate is the new one's at this step."""
        begin, new = self.binding.schedule_from, self.lr_scheduler
        base_rates = list(new.base_lrs) if begin and isinstance(new, LambdaLR) else None
        super()._load_optimizer_and_scheduler(checkpoint)
        scheduler = self.lr_scheduler
        asked = self.binding.schedule_steps is not None or begin
        if checkpoint is None or not asked or not isinstance(scheduler, LambdaLR):
            return
        if base_rates is not None:  # an extended run's own, not those of the run that it goes on from
            scheduler.base_lrs = base_rates
            for group, rate in zip(scheduler.optimizer.param_groups, base_rates, strict=True):
                group["initial_lr"] = rate
        rates = [
            base * factor(scheduler.last_epoch)
            for base, factor in zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
        ]
        for group, rate in zip(scheduler.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        scheduler._last_lr = rates

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load, and keep the types: peft loads an adapter as float32, TRL trains that of a 4-bit model in bfloat16."""
        loaded = self.model if model is None else model
        assert loaded is not None
        dtypes = {name: parameter.dtype for name, parameter in loaded.named_parameters()}
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        for name, parameter in loaded.named_parameters():
            if parameter.dtype != dtypes[name]:
                parameter.data = parameter.data.to(dtypes[name])

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Raise instead of warning, and do not count tied weights, of which a checkpoint has one name only."""
        assert self.model is not None
        missing = set(load_result.missing_keys) & set(without_ties(self.model.state_dict()))
        if missing or load_result.unexpected_keys:
            raise RuntimeError(
                f"the checkpoint is another model's: it lacks {sorted(missing)}, "
                f"and has {sorted(load_result.unexpected_keys)} besides"
            )

    @property
    def checkpoint_stall_seconds(self) -> float:
        """How long training has waited for checkpoints in this attempt, in total."""
        return self._saving_seconds + self.binding.checkpointer.snapshot.waited_seconds

    def best(self) -> dict[str, Any] | None:
        """Return the best evaluation so far (``step``, ``metric``, ``value``); None if none is tracked."""
        if not self.binding.tracks_best or self.state.best_global_step is None:
            return None
        return {
            "step": self.state.best_global_step,
            "metric": self.args.metric_for_best_model,
            "value": self.state.best_metric,
        }

    def _hook_optimizer(self) -> None:
        """Make each update wait for a snapshot that is still being copied."""
        optimizer: Any = self.optimizer
        while hasattr(optimizer, "optimizer"):  # accelerate's and DeepSpeed's wrap torch's
            optimizer = optimizer.optimizer
        if optimizer is not self._hooked_optimizer:
            snapshot = self.binding.checkpointer.snapshot
            optimizer.register_step_pre_hook(lambda *_: snapshot.wait_before_update())
            self._hooked_optimizer = optimizer

    def _init_training_state(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
        position: tuple[int, int] = super()._init_training_state(*args, **kwargs)
        folder = kwargs.get("resume_from_checkpoint", args[3] if len(args) > 3 else None)
        if folder is None and self.binding.process_info.is_main_process:
            warn_of_long_warmup(self.args, self.state.max_steps)
        if folder is not None:
            saved = read_runner_state(Path(folder))
            self.restore_counts(saved)
            # Evaluations of a stage that an older version began move the random streams: it must end as it would have.
            self._preserves_state = bool(saved.get("evaluation_preserves_state", False))
            if "stall" in saved:
                self._stall.restore(saved["stall"])
            method_state = Path(folder) / method_state_file(self.args.process_index, self.args.world_size)
            if method_state.is_file():
                self.restore_method_state(torch.load(method_state, weights_only=True))
        self._step_ended = time.perf_counter()
        return position

    def restore_counts(self, saved: Mapping[str, Any]) -> None:
        """Restore what TRL counts in memory only (`num_tokens` would begin at 0 again)."""
        if hasattr(self, "_total_train_tokens"):
            self._total_train_tokens = self._tokens_before = int(saved["total_train_tokens"])
        else:
            self._tokens_before = int(self.state.num_input_tokens_seen)

    def method_state(self) -> dict[str, Any]:
        """Return copies of what the method keeps between steps and transformers does not save. Methods override it."""
        return {}

    def restore_method_state(self, state: dict[str, Any]) -> None:
        """Restore what `method_state` returned."""

    def restore_finished(self, folder: Path) -> dict[str, Any] | None:
        """Restore weights, state and counts from a checkpoint of the last step; return the best evaluation so far."""
        self.load_weights(folder)
        self.state = TrainerState.load_from_json(str(folder / TRAINER_STATE))
        saved = read_runner_state(folder)
        self.restore_counts(saved)
        self._finished_early = bool(saved.get("finished_early", False))
        best: dict[str, Any] | None = saved["best"]
        return best

    def load_weights(self, folder: Path) -> None:
        """Load the weights of a checkpoint, and nothing else, into the model."""
        self.binding.checkpointer.snapshot.wait_before_update()
        assert self.model is not None
        if is_zero3(self.model):
            load_zero3_weights(self.model, folder, is_main_process=self.binding.process_info.is_main_process)
            return
        with torch.no_grad():
            self._load_from_checkpoint(str(folder))


def _shifted(factor: Callable[[int], float], begin: int) -> Callable[[int], float]:
    """Return a schedule that begins at a later step."""

    def shifted(step: int) -> float:
        return factor(max(0, step - begin))

    return shifted


def warn_of_long_warmup(args: TrainingArguments, max_steps: int) -> None:
    """Log a warning if the learning rate is still warming up at the last step."""
    warmup = args.get_warmup_steps(max_steps)
    if warmup >= max_steps and SchedulerType(args.lr_scheduler_type).value not in _WITHOUT_WARMUP:
        asked = "warmup_steps" if args.warmup_steps >= 1 else f"warmup_steps: {args.warmup_steps:g}, a share of all"
        # What the recipe alone shows, `check` and `launch` have said already: it is left to the log.
        known = args.max_steps > 0 and args.warmup_steps >= 1
        logger.log(
            logging.INFO if known else logging.WARNING,
            f"training.{asked}: the warm-up takes {warmup} steps and the training {max_steps} (max_steps), so that the "
            f"learning rate never gets to {args.learning_rate:g}; write less than {max_steps}, or a share such as 0.1",
        )


def _format_values(logs: Mapping[str, float]) -> str:
    names = ("loss", "eval_loss", "learning_rate", "grad_norm", "tokens_per_second")
    return " ".join(f"{name} {logs[name]:.4g}" for name in names if name in logs)
