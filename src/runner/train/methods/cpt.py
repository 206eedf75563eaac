"""Continued pretraining on raw text, full or LoRA, through TRL's `SFTTrainer`. Read it from top to bottom.

It differs from supervised fine-tuning in its data: text without turns, prompts or a chat template, packed into
sequences of `max_length` so that nothing is cut off and nothing is padded.
"""

from pathlib import Path
from typing import Any

from trl import SFTConfig

from runner.recipe.recipe import Recipe
from runner.train.data.truncation import check_lengths
from runner.train.methods.sft import ResumableSFTTrainer
from runner.train.methods.training_arguments import tracks_best, trainer_arguments
from runner.train.stages.context import StageContext
from runner.train.stages.steps import StageRun, load, make_callbacks, new_adapter

DEFAULTS = {"packing": True, "packing_strategy": "bfd_split"}
"""Defaults where TRL's own are made for conversations; the recipe's schema has the same."""


def train(context: StageContext) -> dict[str, Any]:
    """Train `context.recipe`, from its checkpoint if it has one, and commit the artifacts; return the stage's result.

    Raises:
        UserError: the model, the data or a setting is wrong.
        Preempted: the machine is going away; a checkpoint has been taken if training had begun.
    """
    stage_run = build(context)
    stage_run.evaluate_before()
    stage_run.train()
    stage_run.load_best_weights()
    stage_run.evaluate_after()
    return stage_run.save_artifacts()


def build(context: StageContext) -> StageRun:
    """Load the data and the model that the stage starts from, and make its trainer.

    Raises:
        UserError: the model, the data or a setting is wrong.
    """
    recipe = context.recipe
    args = cpt_config(recipe, context.attempt.folder)  # before the model: ZeRO-3 partitions it as it is loaded
    data, model, tokenizer = load(context)
    binding = context.run_binding(tracks_best=tracks_best(recipe))
    trainer = ResumableSFTTrainer(
        model=model,
        args=args,
        train_dataset=data.train,
        eval_dataset=data.eval,
        processing_class=tokenizer,
        peft_config=new_adapter(context, model),
        callbacks=make_callbacks(context, binding),
        binding=binding,
    )
    check_lengths(data, trainer)
    return StageRun(context, trainer, tokenizer, data=data)


def cpt_config(recipe: Recipe, output_dir: Path) -> SFTConfig:
    """Return TRL's config for a recipe."""
    return SFTConfig(**{**DEFAULTS, **trainer_arguments(recipe, output_dir, config=SFTConfig)})
