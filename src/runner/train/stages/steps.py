"""The steps of a stage, from loading its data to its result; the same for every method.

A method's script (`sft`, `cpt`, …) says what is trained on and by which trainer, then goes through these steps in
order. Each step skips what an earlier attempt has done already.
"""

import copy
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, cast

from peft import LoraConfig, PeftModel
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from runner.recipe.recipe import continues_adapter
from runner.runs.attempts import describe_hardware
from runner.runs.checkpoints.files import read_runner_state
from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.record_types.attempt import HardwareRecord
from runner.storage.retry import STORE_ERRORS
from runner.train.agent.preemption import Paused, Preempted
from runner.train.checkpointing.divergence import TrainingDiverged
from runner.train.checkpointing.fingerprint import check_fingerprint, fingerprint
from runner.train.checkpointing.save_schedule import EarlyStopping, RunBinding
from runner.train.checkpointing.trainer import ResumableTrainerMixin
from runner.train.checkpointing.zero import gather_zero3_weights, is_zero3
from runner.train.data.chat_template import fit_to_template
from runner.train.data.mixture import TrainingData, keep_temporary_files_in, load_data
from runner.train.devices.kernels import hardware_record
from runner.train.evaluation.exact_match import exact_match
from runner.train.evaluation.measure import GENERATION_BATCH, generate, measure
from runner.train.export.pipeline import check_exports
from runner.train.loggers.trackers import finish_reporting, make_trackers, replay_metrics
from runner.train.models.adapters import check_head, copy_to_reference, lora_config, make_scalable
from runner.train.models.loading import load_model, load_tokenizer
from runner.train.models.targets import check_can_be_merged, check_targets
from runner.train.models.vocabulary import check_named_tokens
from runner.train.stages.artifacts import commit_artifacts, push_to_hub
from runner.train.stages.before_training import check_before_training, check_steps_taken
from runner.train.stages.context import StageContext
from runner.train.stages.inputs_record import record_inputs
from runner.train.stages.measured import stage_figures

logger = logging.getLogger(__name__)

_ROWS_FOR_A_TRAINER = 512
"""More than a generation batch of GRPO takes."""


def load(context: StageContext) -> tuple[TrainingData, Any, PreTrainedTokenizerBase]:
    """Load the recipe's data and the model and tokenizer that the stage starts from, with the adapter it goes on with.

    Raises:
        UserError: the recipe's `data` cannot be read as it says, or its `model` cannot be loaded.
    """
    attempt = context.attempt
    attempt.events.phase("loading", "data")
    keep_temporary_files_in(attempt.folder)
    data = load_data(context.recipe, inputs=attempt.input_path, chat_template=partial(_has_chat_template, context))
    if context.measures_only:
        data = replace(data, train=data.train.select(range(min(len(data.train), _ROWS_FOR_A_TRAINER))))
    attempt.events.phase("loading", "model")
    model, tokenizer = load_model(context.recipe, cache_dir=attempt.cache)
    check_named_tokens(tokenizer, context.recipe.training)
    will_export = context.following is None and not context.measures_only
    if will_export and context.restored is None and attempt.process_info.is_main_process:
        check_exports(context.recipe, model, tokenizer, attempt.folder / "check")
    if context.adapter is not None:
        model = cast(Any, PeftModel.from_pretrained(model, str(context.adapter), is_trainable=True))
        tokenizer = load_tokenizer(context.recipe, cache_dir=attempt.cache, adapter=context.adapter)
    data = fit_to_template(data, tokenizer, context.recipe.training)
    for note in data.notes if attempt.process_info.is_main_process else ():
        logger.info(f"data: {note}")
    return data, model, tokenizer


def _has_chat_template(context: StageContext) -> bool:
    """Whether rows of turns have a chat template to go through: the tokenizer's, or one that the recipe names.

    Raises:
        UserError: the model has no tokenizer, or does not exist.
    """
    if context.recipe.training.get("chat_template_path"):
        return True
    return (
        load_tokenizer(context.recipe, cache_dir=context.attempt.cache, adapter=context.adapter).chat_template
        is not None
    )


def new_adapter(context: StageContext, model: Any) -> LoraConfig | None:
    """Return the settings of the adapter that the trainer makes; None for full fine-tuning or a loaded adapter.

    Args:
        context: the stage's.
        model: the model that gets it.

    Raises:
        UserError: peft refuses them, or they name what the model does not have.
    """
    config = None if context.adapter is not None else lora_config(context.recipe)
    if config is not None:
        check_targets(model, config)
        following, export = context.following, context.recipe.export
        if export.merge or export.gguf if following is None else not continues_adapter(context.recipe, following):
            check_can_be_merged(model, config)
    return config


def make_callbacks(context: StageContext, binding: RunBinding) -> list[Any]:
    """Return the callbacks for the recipe's trackers and early stopping."""
    training = context.recipe.training
    attempt = context.attempt
    callbacks: list[Any] = []
    if attempt.process_info.is_main_process:
        report_to = training.get("report_to", "none")
        callbacks = make_trackers(
            report_to,
            run_id=attempt.claim.run_id,
            stage=context.recipe.stage,
            folder=attempt.shared_folder,
            is_logging_step=binding.is_logging_step,
            sweep=None if report_to in ("none", ["none"], []) else attempt.run_document().get("sweep"),
        )
    patience = training.get("early_stopping_patience")
    if patience is not None:
        threshold = training.get("early_stopping_threshold", 0.0)
        callbacks.append(EarlyStopping(early_stopping_patience=patience, early_stopping_threshold=threshold))
    return callbacks


class AtTrainBegin(TrainerCallback):
    """A callback that runs an action when the trainer has set everything up, right before its first step."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Run the action; training does not see what the action changes in `control`."""
        before = copy.copy(control)
        self._action()
        return before


class StageRun:
    """The steps of one stage, to be called in the order in which they are defined.

    An evaluation alone calls only `measure`, once for each model that it loads into the trainer.

    Args:
        context: the stage's.
        trainer: the method's, ready to train.
        tokenizer: the model's.
        data: what the model is measured on. If its rows are conversations, `evaluate.prompts` are a user's messages.
        loss_is_cross_entropy: whether the loss is a mean over tokens, which has a perplexity.

    Raises:
        UserError: TRL's trainer cannot train the adapter.
        CannotResumeHere: the checkpoint to go on from was trained on other rows than there are now.
    """

    def __init__(
        self,
        context: StageContext,
        trainer: ResumableTrainerMixin,
        tokenizer: PreTrainedTokenizerBase,
        *,
        data: TrainingData,
        loss_is_cross_entropy: bool = True,
    ) -> None:
        self._context = context
        self._trainer = trainer
        self._tokenizer = tokenizer
        self._data = data
        self._loss_is_cross_entropy = loss_is_cross_entropy
        self._best: dict[str, Any] | None = None
        check_head(trainer.model)
        copy_to_reference(trainer.model)
        make_scalable(trainer.model, fp16=bool(trainer.args.fp16))
        trainer.remove_callback(PrinterCallback)
        if not context.measures_only:
            trainer.fingerprint = fingerprint(data.train, tokenizer)
            if context.restored is not None:
                check_fingerprint(context.restored, trainer.fingerprint)
        check_before_training(context, trainer, tokenizer, data)
        self._hardware: HardwareRecord = {**hardware_record(trainer), "layout": data.layout.value}
        if context.attempt.process_info.is_main_process:
            logger.info(f"computed with: {describe_hardware(self._hardware)}")
            context.record_hardware(self._hardware)
            if not context.measures_only:
                record_inputs(context, trainer.fingerprint, len(data.train), trainer.train_dataset)

    @property
    def trainer(self) -> ResumableTrainerMixin:
        """The trainer, which holds the model."""
        return self._trainer

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer, as the trainer uses it."""
        return self._tokenizer

    def evaluate_before(self) -> None:
        """Measure the model as the stage starts with it, if the recipe asks.

        A resumed run gives its trackers the records of the attempts before instead.
        """
        context = self._context
        if context.restored is not None and context.attempt.process_info.is_main_process:
            max_steps = read_runner_state(context.restored)["max_steps"]
            replay_metrics(self._trainer, context.metrics_so_far, max_steps=max_steps)
        elif context.restored is None and context.recipe.evaluate.before_and_after:
            if self._trainer.is_deepspeed_enabled or context.attempt.process_info.world_size > 1:
                # DeepSpeed only evaluates a model that it is set up to train. And transformers assumes that a model
                # that was evaluated is wrapped already: each process would silently train by itself.
                self._trainer.add_callback(AtTrainBegin(lambda: self._measure("before")))
            else:
                self._measure("before")

    def train(self) -> None:
        """Train, from the checkpoint if there is one.

        Raises:
            Preempted: the machine is going away; a checkpoint has been taken.
            Paused: the run was to train to this step; its checkpoint is in the store.
            TrainingDiverged: the loss or the weights are not finite; the checkpoints from before are in the store.
            UserError: no optimizer step was taken.
        """
        context, trainer = self._context, self._trainer
        if context.is_complete and context.restored is not None:
            self._best = trainer.restore_finished(context.restored)
            return
        if context.restored is not None and context.until_step is not None:
            step = int(read_runner_state(context.restored)["step"])
            if step >= context.until_step:
                raise Paused(step)
        context.attempt.events.phase("training")
        with context.attempt.notice.noted_at_step_boundaries(), trainer.recognize_out_of_memory():
            try:
                trainer.train(resume_from_checkpoint=None if context.restored is None else str(context.restored))
            except TrainingDiverged as error:
                raise self._with_last_good_checkpoint(error) from error
        if trainer.is_complete:
            check_steps_taken(trainer)
        if trainer.schedule.paused_at is not None and not context.attempt.notice.given:
            # Whoever goes on with the trial does so from this checkpoint, and perhaps in a moment.
            context.attempt.events.phase("uploading")
            context.attempt.checkpointer.finish(within_seconds=context.attempt.finish_seconds)
            raise Paused(trainer.schedule.paused_at)
        if not trainer.is_complete:
            raise Preempted
        self._best = trainer.best()

    def _with_last_good_checkpoint(self, error: TrainingDiverged) -> TrainingDiverged:
        """Bring checkpoints and metrics into the store; return the error with the last checkpoint from before it."""
        context, attempt = self._context, self._context.attempt
        steps: list[int] = []
        with suppress(*STORE_ERRORS):
            attempt.checkpointer.finish(within_seconds=attempt.finish_seconds)
            attempt.metrics.flush()
            stored = attempt.retry(lambda: checkpoints(attempt.store, attempt.claim.run_id))
            steps = [name.step for name in stored if name.stage == context.stage and name.step <= error.last_good]
        return TrainingDiverged(error.what, last_good=error.last_good, good_step=max(steps, default=None))

    def load_best_weights(self) -> None:
        """Replace the last step's weights by those of the best evaluation, if the recipe asks."""
        context, best = self._context, self._best
        if context.recipe.training.get("load_best_model_at_end") and best:
            if best["step"] == self._trainer.state.global_step:
                return
            attempt = context.attempt
            attempt.events.phase("uploading", "the best checkpoint is fetched when it is in the store")
            attempt.checkpointer.finish(within_seconds=attempt.finish_seconds)
            attempt.process_info.barrier()
            self._trainer.load_weights(context.fetch_checkpoint(best["step"]))

    def evaluate_after(self) -> None:
        """Measure the trained model, if the recipe asks."""
        if self._context.recipe.evaluate.before_and_after:
            self._measure("after")

    def save_artifacts(self) -> dict[str, Any]:
        """Commit what the stage leaves in the store; return the stage's result.

        Raises:
            TrainingDiverged: the weights are not finite.
        """
        context, trainer = self._context, self._trainer
        attempt = context.attempt
        trainer.check_weights()  # of a checkpoint, perhaps, that an older version took
        attempt.events.phase("exporting")
        finish_reporting()
        weights = None
        if is_zero3(cast(PreTrainedModel, trainer.model)):
            weights = gather_zero3_weights(trainer.model, is_main_process=attempt.process_info.is_main_process)
            unset_hf_deepspeed_config()  # models that are loaded from here on are this process's own
        if not attempt.process_info.is_main_process:
            attempt.checkpointer.finish(within_seconds=attempt.finish_seconds)
            return {}
        if trainer.was_finished_early:
            context = replace(context, following=None)  # the run ends with this stage
        artifacts = commit_artifacts(context, trainer.model, self._tokenizer, weights=weights)
        attempt.events.phase("uploading")
        attempt.checkpointer.finish(within_seconds=attempt.finish_seconds)
        result = {
            "step": trainer.state.global_step,
            "max_steps": trainer.state.max_steps,
            **context.before_and_after(),
            "best": self._best,
            "dropped_rows": list(self._data.dropped),
            "artifacts": artifacts,
            **stage_figures(trainer, self._data),
            "hardware": self._hardware,
            "checkpoint_stall_seconds": trainer.checkpoint_stall_seconds,
        }
        if trainer.was_finished_early:
            # Not pushed: what is published under a name is for its owner to say.
            result["finished_early"] = True
        elif context.following is None and context.recipe.export.push_to_hub:
            attempt.events.phase("exporting", "pushing to the hub")
            artifacts["hub"] = push_to_hub(context, result)
        return result

    def _measure(self, phase: str) -> None:
        attempt = self._context.attempt
        attempt.events.phase("evaluating", f"{phase} training")
        with attempt.metrics.evaluating(phase) as record:
            self.measure(record)

    def measure(self, record: dict[str, Any]) -> None:
        """Measure the trainer's model as it is now: loss, completions of the prompts, and exact match if it is asked.

        Args:
            record: gets the measurements; `Metrics.evaluating` adds to it what the trainer logs meanwhile.
        """
        model, prompts = cast(PreTrainedModel, self._trainer.model), list(self._context.recipe.evaluate.prompts)
        # Each pass counts, also for a token: an answer may be long, and a check of many answers takes hours.
        alive = model.register_forward_pre_hook(lambda *_: self._context.attempt.events.alive())
        try:
            self._measure_into(record, model, prompts)
        finally:
            alive.remove()

    def _measure_into(self, record: dict[str, Any], model: PreTrainedModel, prompts: list[str]) -> None:
        evaluate, trainer = self._context.recipe.evaluate, self._trainer
        measured = measure(trainer, perplexity=self._loss_is_cross_entropy)
        record.update(step=trainer.state.global_step, **measured)
        if not self._context.attempt.process_info.is_main_process and not is_zero3(model):
            return  # each process has the whole model, and one of them is enough
        completions = generate(
            model,
            self._tokenizer,
            prompts,
            max_new_tokens=evaluate.max_new_tokens,
            conversational=self._data.conversational,
        )
        record["generations"] = [{"prompt": p, "text": t} for p, t in zip(prompts, completions, strict=True)]
        if evaluate.exact_match is not None and self._data.questions:
            score = exact_match(
                model,
                self._tokenizer,
                self._data.questions,
                max_new_tokens=evaluate.exact_match.max_new_tokens,
                batch_size=max(GENERATION_BATCH, trainer.args.per_device_eval_batch_size),
            )
            record.update(score)
            logger.info(f"exact match: {score['exact_match']:.1%} of {score['exact_match_samples']}")
