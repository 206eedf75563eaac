"""Supervised fine-tuning, full or LoRA, through TRL's `SFTTrainer`. Read it from top to bottom."""

from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from transformers import PreTrainedModel, PrinterCallback
from trl import SFTConfig, SFTTrainer

from runner.spec.batch import split_batch
from runner.spec.recipe import Recipe
from runner.train.context import FINISH_SECONDS, LOGGING_STEPS, Context
from runner.train.data import load_data
from runner.train.evaluate import generate, measure
from runner.train.exact_trainer import EarlyStopping, ExactResume, Lineage, read_runner_state
from runner.train.export import save_merged, save_model
from runner.train.model import load_model, lora_config, precision
from runner.train.preemption import Preempted
from runner.train.reporting import FOLDERS, finish_reporting, replay, reporters

OURS = ("effective_batch_size", "early_stopping_patience", "early_stopping_threshold")
"""What `training:` may hold that is no key of `SFTConfig`."""


class ExactSFTTrainer(ExactResume, SFTTrainer):
    """TRL's `SFTTrainer`, resumable exactly."""


def train(context: Context) -> dict[str, Any]:
    """Train `context.recipe`, from its checkpoint if it has one, to the artifacts; returns what the result says.

    Raises:
        UserError: the model, the data or a setting is wrong.
        Preempted: the machine goes away; a checkpoint has been taken if training had begun.
    """
    recipe, events = context.recipe, context.events

    events.phase("loading", "data")
    data = load_data(recipe, inputs=context.input_path)
    for note in data.notes:
        print(f"data: {note}", flush=True)
    events.phase("loading", "model")
    model, tokenizer = load_model(recipe, cache_dir=context.cache)
    lineage = context.lineage(tracks_best=_tracks_best(recipe))
    trainer = ExactSFTTrainer(
        model=model,
        args=sft_config(recipe, context.folder),
        train_dataset=data.train,
        eval_dataset=data.eval,
        processing_class=tokenizer,
        peft_config=lora_config(recipe),
        callbacks=_callbacks(context, lineage),
        lineage=lineage,
    )
    trainer.remove_callback(PrinterCallback)

    def measure_and_generate(phase: str) -> None:
        events.phase("evaluating", f"{phase} training")
        with context.metrics.evaluating(phase) as record:
            record.update(step=trainer.state.global_step, **measure(trainer))
            prompts = list(recipe.evaluate.prompts)
            texts = generate(
                cast(PreTrainedModel, trainer.model),
                tokenizer,
                prompts,
                max_new_tokens=recipe.evaluate.max_new_tokens,
                conversational=data.conversational,
            )
            record["generations"] = [{"prompt": p, "text": t} for p, t in zip(prompts, texts, strict=True)]

    if context.restored is not None:
        max_steps = read_runner_state(context.restored)["max_steps"]
        replay(trainer, context.metrics_so_far, max_steps=max_steps)
    elif recipe.evaluate.before_and_after:
        measure_and_generate("before")

    if context.is_complete and context.restored is not None:
        best = trainer.take_over(context.restored)
    else:
        events.phase("training")
        with context.notice.noted_at_step_boundaries():
            trainer.train(resume_from_checkpoint=None if context.restored is None else str(context.restored))
        if not trainer.is_complete:
            raise Preempted
        best = trainer.best()

    if recipe.training.get("load_best_model_at_end") and best and best["step"] != trainer.state.global_step:
        events.phase("uploading", "the best checkpoint is fetched when it is in the store")
        context.checkpointer.finish(within_seconds=FINISH_SECONDS)
        trainer.load_weights(context.fetch_checkpoint(best["step"]))

    if recipe.evaluate.before_and_after:
        measure_and_generate("after")

    events.phase("exporting")
    finish_reporting()
    artifacts = {"model": context.commit_artifact("model", lambda folder: save_model(trainer.model, tokenizer, folder))}
    if recipe.export.merge:
        artifacts["merged"] = context.commit_artifact(
            "merged", lambda folder: save_merged(recipe, trainer.model, tokenizer, folder, cache_dir=context.cache)
        )
    for name in FOLDERS:
        if (context.shared_folder / name).is_dir():
            artifacts[name] = context.commit_artifact(name, partial(context.copy_shared, name))

    events.phase("uploading")
    context.checkpointer.finish(within_seconds=FINISH_SECONDS)
    return {
        "step": trainer.state.global_step,
        "max_steps": trainer.state.max_steps,
        **context.before_and_after(),
        "best": best,
        "artifacts": artifacts,
        "checkpoint_stall_seconds": trainer.checkpoint_stall_seconds,
    }


def sft_config(recipe: Recipe, output_dir: Path) -> SFTConfig:
    """TRL's config: the recipe's own settings, the batch split, precision by hardware, and what exact resume needs."""
    training = {key: value for key, value in recipe.training.items() if key not in OURS}
    micro_batch, accumulation = split_batch(recipe.training)
    return SFTConfig(
        **{
            **precision(recipe.training),
            **training,
            **_activation_checkpointing(training),
            "output_dir": str(output_dir),
            "per_device_train_batch_size": micro_batch,
            "gradient_accumulation_steps": accumulation,
            # Else it would be the `logging_steps` that are set below.
            "eval_steps": training.get("eval_steps") or training.get("logging_steps", LOGGING_STEPS),
            "metric_for_best_model": training.get("metric_for_best_model", "loss" if _tracks_best(recipe) else None),
            # `SaveSchedule` decides when to save; the best model comes from the store.
            "save_strategy": "no",
            "load_best_model_at_end": False,
            "restore_callback_states_from_checkpoint": True,
            # One record a step; `Lineage.is_logging_step` thins what trackers and the log get.
            "logging_strategy": "steps",
            "logging_steps": 1,
            "report_to": "none",
            "disable_tqdm": True,
            "dataloader_pin_memory": training.get("dataloader_pin_memory", torch.cuda.is_available()),
        }
    )


def _activation_checkpointing(training: dict[str, Any]) -> dict[str, Any]:
    """What the recipe says under the old names, ``gradient_checkpointing``, under those that transformers now has.

    TRL's own default bears the old name, so that each run would begin with a warning of transformers'.
    """
    default = SFTConfig.__dataclass_fields__["gradient_checkpointing"].default
    renamed = {"activation_checkpointing": training.get("gradient_checkpointing", default)}
    if "gradient_checkpointing_kwargs" in training:
        renamed["activation_checkpointing_kwargs"] = training["gradient_checkpointing_kwargs"]
    return {name: value for name, value in renamed.items() if training.get(name) is None}


def _tracks_best(recipe: Recipe) -> bool:
    training = recipe.training
    return any(training.get(key) for key in ("load_best_model_at_end", "metric_for_best_model", OURS[1]))


def _callbacks(context: Context, lineage: Lineage) -> list[Any]:
    training = context.recipe.training
    callbacks: list[Any] = reporters(
        training.get("report_to", "none"),
        run_id=context.claim.run_id,
        folder=context.shared_folder,
        is_logging_step=lineage.is_logging_step,
    )
    patience = training.get("early_stopping_patience")
    if patience is not None:
        threshold = training.get("early_stopping_threshold", 0.0)
        callbacks.append(EarlyStopping(early_stopping_patience=patience, early_stopping_threshold=threshold))
    return callbacks
