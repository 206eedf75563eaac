"""Supervised fine-tuning, full or LoRA, through TRL's `SFTTrainer`. Read it from top to bottom."""

from pathlib import Path
from typing import Any

from trl import SFTConfig, SFTTrainer

from runner.spec.recipe import Recipe
from runner.train.arguments import tracks_best, trainer_arguments
from runner.train.context import Context
from runner.train.course import Course, callbacks, load, new_adapter
from runner.train.exact_trainer import ExactResume


class ExactSFTTrainer(ExactResume, SFTTrainer):
    """TRL's `SFTTrainer`, resumable exactly."""


def train(context: Context) -> dict[str, Any]:
    """Train `context.recipe`, from its checkpoint if it has one, to the artifacts; returns what the result says.

    Raises:
        UserError: the model, the data or a setting is wrong.
        Preempted: the machine goes away; a checkpoint has been taken if training had begun.
    """
    recipe = context.recipe
    data, model, tokenizer = load(context)
    lineage = context.lineage(tracks_best=tracks_best(recipe))
    trainer = ExactSFTTrainer(
        model=model,
        args=sft_config(recipe, context.folder),
        train_dataset=data.train,
        eval_dataset=data.eval,
        processing_class=tokenizer,
        peft_config=new_adapter(context),
        callbacks=callbacks(context, lineage),
        lineage=lineage,
    )
    course = Course(context, trainer, tokenizer, conversational=data.conversational)
    course.measure_before()
    course.train()
    course.take_best()
    course.measure_after()
    return course.keep()


def sft_config(recipe: Recipe, output_dir: Path) -> SFTConfig:
    """TRL's config for a recipe."""
    return SFTConfig(**trainer_arguments(recipe, output_dir, config=SFTConfig))
