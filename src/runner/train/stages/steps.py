"""The course of a training from its trainer to its result, the same whatever the method.

A method's script (`sft`, `cpt`, …) says what is trained on and by which trainer, then goes through these steps in
order. Each knows what an earlier attempt has done already.
"""

import copy
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
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
from transformers.models.auto.tokenization_auto import AutoTokenizer

from runner.recipe.recipe import continues_adapter
from runner.runs.attempts import describe_hardware
from runner.runs.checkpoint_files import read_runner_state
from runner.train.agent.preemption import Preempted
from runner.train.checkpointing.fingerprint import check_fingerprint, fingerprint
from runner.train.checkpointing.save_schedule import EarlyStopping, RunBinding
from runner.train.checkpointing.trainer import ResumableTrainerMixin
from runner.train.checkpointing.zero import gather_zero3_weights, is_zero3
from runner.train.data.mixture import TrainingData, keep_temporary_files_in, load_data
from runner.train.devices.kernels import computed_with
from runner.train.evaluation.exact_match import exact_match
from runner.train.evaluation.measure import GENERATION_BATCH, generate, measure
from runner.train.export.hub_push import push, save_pushed
from runner.train.export.pipeline import check_exports, make_exports, pushed_artifacts
from runner.train.export.save import save_merged, save_model
from runner.train.loggers.trackers import FOLDERS, finish_reporting, replay, reporters
from runner.train.models.adapters import check_head, hold_reference, lora_config, make_scalable
from runner.train.models.loading import load_model
from runner.train.stages.context import Context

_ROWS_FOR_A_TRAINER = 512
"""More than a generation batch of GRPO takes."""


def load(context: Context) -> tuple[TrainingData, Any, PreTrainedTokenizerBase]:
    """The recipe's data, the model and tokenizer that the stage starts from; with an adapter if it goes on with one.

    Raises:
        UserError: the recipe's `data` or `model` does not fit what is there.
    """
    context.events.phase("loading", "data")
    keep_temporary_files_in(context.folder)
    data = load_data(context.recipe, inputs=context.input_path)
    for note in data.notes if context.process_info.is_main_process else ():
        print(f"data: {note}", flush=True)
    if context.measures_only:
        data = replace(data, train=data.train.select(range(min(len(data.train), _ROWS_FOR_A_TRAINER))))
    context.events.phase("loading", "model")
    model, tokenizer = load_model(context.recipe, cache_dir=context.cache)
    ends_here = context.restored is None and context.following is None and not context.measures_only
    if ends_here and context.process_info.is_main_process:
        check_exports(context.recipe, model, tokenizer, context.folder / "check")
    if context.adapter is None:
        return data, model, tokenizer
    adapted = PeftModel.from_pretrained(model, str(context.adapter), is_trainable=True)
    trusts = bool(context.recipe.training.get("trust_remote_code"))
    return data, adapted, AutoTokenizer.from_pretrained(context.adapter, trust_remote_code=trusts)


def new_adapter(context: Context) -> LoraConfig | None:
    """The settings of the adapter that the trainer is to make; None: full fine-tuning, or there is one already."""
    return None if context.adapter is not None else lora_config(context.recipe)


def callbacks(context: Context, lineage: RunBinding) -> list[Any]:
    """Trackers and early stopping, as the recipe has them."""
    training = context.recipe.training
    found: list[Any] = []
    if context.process_info.is_main_process:
        found = reporters(
            training.get("report_to", "none"),
            run_id=context.claim.run_id,
            stage=context.recipe.stage,
            folder=context.shared_folder,
            is_logging_step=lineage.is_logging_step,
        )
    patience = training.get("early_stopping_patience")
    if patience is not None:
        threshold = training.get("early_stopping_threshold", 0.0)
        found.append(EarlyStopping(early_stopping_patience=patience, early_stopping_threshold=threshold))
    return found


class AtTrainBegin(TrainerCallback):
    """Does something once, when the trainer has set everything up and not yet begun."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Do it; what it changes in `control` is not meant for training."""
        before = copy.copy(control)
        self._action()
        return before


class StageRun:
    """The steps, to be taken in the order in which they stand here.
    For an evaluation alone: `measure`, of as many models as are loaded into the trainer.

    Args:
        context: the attempt.
        trainer: the method's, ready to train.
        tokenizer: the model's.
        data: what it is measured on; where rows are conversations, `evaluate.prompts` are a user's messages.
        loss_is_cross_entropy: whether the loss is a mean over tokens, which has a perplexity.

    Raises:
        UserError: the adapter is one that the trainer would not train.
        ContinuesElsewhere: the checkpoint to go on from was trained on other rows than there are now.
    """

    def __init__(
        self,
        context: Context,
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
        self._weights: dict[str, torch.Tensor] | None = None
        check_head(trainer.model)
        hold_reference(trainer.model)
        make_scalable(trainer.model, fp16=bool(trainer.args.fp16))
        trainer.remove_callback(PrinterCallback)
        if not context.measures_only:
            trainer.made_from = fingerprint(data.train, tokenizer)
            if context.restored is not None:
                check_fingerprint(context.restored, trainer.made_from)
        self._computed_with = computed_with(trainer)
        if context.process_info.is_main_process:
            print(f"computed with: {describe_hardware(self._computed_with)}", flush=True)
            context.record_hardware(self._computed_with)

    @property
    def trainer(self) -> ResumableTrainerMixin:
        """Whose model is trained, or measured."""
        return self._trainer

    def evaluate_before(self) -> None:
        """Measure the model as it comes, if the recipe asks; a resumed run tells its trackers what it had measured."""
        context = self._context
        if context.restored is not None and context.process_info.is_main_process:
            max_steps = read_runner_state(context.restored)["max_steps"]
            replay(self._trainer, context.metrics_so_far, max_steps=max_steps)
        elif context.restored is None and context.recipe.evaluate.before_and_after:
            if self._trainer.is_deepspeed_enabled or context.process_info.world_size > 1:
                # DeepSpeed evaluates no model that it will not train. And of a model that was evaluated before,
                # transformers takes for granted that it is wrapped: the processes would train apart, without a word.
                self._trainer.add_callback(AtTrainBegin(lambda: self._measure("before")))
            else:
                self._measure("before")

    def train(self) -> None:
        """Train, from the checkpoint if there is one.

        Raises:
            Preempted: the machine goes away; a checkpoint has been taken.
        """
        context, trainer = self._context, self._trainer
        if context.is_complete and context.restored is not None:
            self._best = trainer.take_over(context.restored)
            return
        context.events.phase("training")
        with context.notice.noted_at_step_boundaries(), trainer.memory_watched():
            trainer.train(resume_from_checkpoint=None if context.restored is None else str(context.restored))
        if not trainer.is_complete:
            raise Preempted
        self._best = trainer.best()

    def load_best_weights(self) -> None:
        """Go on with the best evaluation's weights instead of the last, if the recipe asks."""
        context, best = self._context, self._best
        if context.recipe.training.get("load_best_model_at_end") and best:
            if best["step"] == self._trainer.state.global_step:
                return
            context.events.phase("uploading", "the best checkpoint is fetched when it is in the store")
            context.checkpointer.finish(within_seconds=context.finish_seconds)
            context.process_info.barrier()
            self._trainer.load_weights(context.fetch_checkpoint(best["step"]))

    def evaluate_after(self) -> None:
        """Measure the trained model, if the recipe asks."""
        if self._context.recipe.evaluate.before_and_after:
            self._measure("after")

    def save_artifacts(self) -> dict[str, Any]:
        """Put what was made into the store; returns what the result says of the stage."""
        context, trainer = self._context, self._trainer
        context.events.phase("exporting")
        finish_reporting()
        if is_zero3(cast(PreTrainedModel, trainer.model)):
            self._weights = gather_zero3_weights(trainer.model, is_first=context.process_info.is_main_process)
            unset_hf_deepspeed_config()  # models that are loaded from here on are this process's own
        if not context.process_info.is_main_process:
            context.checkpointer.finish(within_seconds=context.finish_seconds)
            return {}
        artifacts = {}
        if context.following is None:
            export = context.recipe.export
            keep = bool(export.merge or export.gguf or export.push_to_hub)
            artifacts["model"] = context.commit_artifact("model", self._save, keep=keep)
            artifacts |= make_exports(
                context.artifact_store,
                context.recipe,
                export,
                folder=context.folder / "exports",
                cache_dir=context.cache,
                phase=partial(context.events.phase, "exporting"),
            )
        else:
            # What the next stage starts from: the adapter that it goes on with, or a model.
            merges = context.recipe.adapter is not None and not continues_adapter(context.recipe, context.following)
            make = self._save_merged if merges else self._save
            name = f"stage-{context.stage}"
            artifacts[name] = context.commit_artifact(name, make, keep=True)
        for tracker in FOLDERS:
            if (context.shared_folder / tracker).is_dir():
                name = tracker if context.recipe.stage is None else f"{tracker}-{context.stage}"
                artifacts[name] = context.commit_artifact(name, partial(context.copy_shared, tracker))

        context.events.phase("uploading")
        context.checkpointer.finish(within_seconds=context.finish_seconds)
        result = {
            "step": trainer.state.global_step,
            "max_steps": trainer.state.max_steps,
            **context.before_and_after(),
            "best": self._best,
            "artifacts": artifacts,
            "hardware": self._computed_with,
            "checkpoint_stall_seconds": trainer.checkpoint_stall_seconds,
        }
        if context.following is None and context.recipe.export.push_to_hub:
            context.events.phase("exporting", "pushing to the hub")
            artifacts["hub"] = context.commit_artifact("hub", partial(self._push, result))
        return result

    def _save(self, folder: Path) -> None:
        save_model(self._trainer.model, self._tokenizer, folder, weights=self._weights)

    def _save_merged(self, folder: Path) -> None:
        context = self._context
        adapter = context.folder / "adapter-to-merge"
        self._save(adapter)
        save_merged(context.recipe, adapter, folder, cache_dir=context.cache)
        shutil.rmtree(adapter)

    def _push(self, result: dict[str, Any], folder: Path) -> None:
        context = self._context
        keys = pushed_artifacts(result["artifacts"])
        folders = map(context.artifact_store.folder, keys)
        upload = context.folder / "upload"
        pushed = push(context.recipe.export, folders, upload, run=context.run_document(), result=result)
        save_pushed(pushed, keys, folder)

    def _measure(self, phase: str) -> None:
        self._context.events.phase("evaluating", f"{phase} training")
        with self._context.metrics.evaluating(phase) as record:
            self.measure(record)

    def measure(self, record: dict[str, Any]) -> None:
        """Measure the trainer's model as it is now: loss, completions of the prompts, answers where they are checked.

        Args:
            record: what was measured is added to it, and by `Metrics.evaluating` what the trainer logs meanwhile.
        """
        evaluate, trainer = self._context.recipe.evaluate, self._trainer
        model, prompts = cast(PreTrainedModel, trainer.model), list(evaluate.prompts)
        measured = measure(trainer, perplexity=self._loss_is_cross_entropy)
        record.update(step=trainer.state.global_step, **measured)
        if not self._context.process_info.is_main_process and not is_zero3(model):
            return  # each process has the whole model, and one of them is enough
        texts = generate(
            model,
            self._tokenizer,
            prompts,
            max_new_tokens=evaluate.max_new_tokens,
            conversational=self._data.conversational,
        )
        record["generations"] = [{"prompt": p, "text": t} for p, t in zip(prompts, texts, strict=True)]
        if evaluate.exact_match is not None and self._data.questions:
            found = exact_match(
                model,
                self._tokenizer,
                self._data.questions,
                max_new_tokens=evaluate.exact_match.max_new_tokens,
                batch_size=max(GENERATION_BATCH, trainer.args.per_device_eval_batch_size),
            )
            record.update(found)
            print(f"exact match: {found['exact_match']:.1%} of {found['exact_match_samples']}", flush=True)
