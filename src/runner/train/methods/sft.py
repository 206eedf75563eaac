"""Supervised fine-tuning, full or LoRA, through TRL's `SFTTrainer`. Read it from top to bottom."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase
from trl import SFTConfig, SFTTrainer

from runner.errors import UserError
from runner.recipe.formats.answers import answers_only
from runner.recipe.recipe import Recipe
from runner.train.checkpointing.trainer import ResumableTrainerMixin
from runner.train.data.loss.answers import tokenize_answers
from runner.train.data.mixture import TrainingData
from runner.train.data.reasoning import template_keeps_reasoning, tokenize_with_reasoning
from runner.train.data.truncation import check_lengths
from runner.train.methods.kept_rows import KeptRows, Preparation
from runner.train.methods.training_arguments import tracks_best, trainer_arguments
from runner.train.stages.context import StageContext
from runner.train.stages.steps import StageRun, load, make_callbacks, new_adapter

logger = logging.getLogger(__name__)


class ResumableSFTTrainer(ResumableTrainerMixin, SFTTrainer):
    """TRL's `SFTTrainer` with exact resume. A trial of a sweep takes the rows that an earlier one has prepared."""

    _prepare_dataset_of_trl = SFTTrainer._prepare_dataset

    def _prepare_dataset(
        self,
        dataset: Any,
        processing_class: Any,
        args: Any,
        packing: bool,
        formatting_func: Any,
        dataset_name: str,
    ) -> Any:
        def make() -> Any:
            return SFTTrainer._prepare_dataset(
                self, dataset, processing_class, args, packing, formatting_func, dataset_name
            )

        folder = self.binding.kept_rows
        # Several processes wait for each other in there, so that all of them or none must go in.
        if folder is None or self.binding.process_info.world_size > 1 or formatting_func is not None:
            return make()
        preparation = Preparation(trainer=self, args=args, tokenizer=processing_class, packing=packing)
        return KeptRows(folder).get_or_make(preparation, dataset, make)


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
    args = sft_config(recipe, context.attempt.folder)  # before the model: ZeRO-3 partitions it as it is loaded
    data, model, tokenizer = load(context)
    prepared = tokenize_answers(keep_reasoning(data, tokenizer, recipe.training), tokenizer, recipe.training)
    # TRL places it for templates with marks; for others the rows have labels already, which it takes as they are.
    args.assistant_only_loss = answers_only(recipe.training) and "labels" not in prepared.train.column_names
    binding = context.run_binding(tracks_best=tracks_best(recipe))
    trainer = ResumableSFTTrainer(
        model=model,
        args=args,
        train_dataset=prepared.train,
        eval_dataset=prepared.eval,
        processing_class=tokenizer,
        peft_config=new_adapter(context, model),
        callbacks=make_callbacks(context, binding),
        binding=binding,
    )
    check_lengths(prepared, trainer)
    return StageRun(context, trainer, tokenizer, data=data)


def keep_reasoning(data: TrainingData, tokenizer: PreTrainedTokenizerBase, training: Mapping[str, Any]) -> TrainingData:
    """Return the data, tokenized here if the chat template would drop the reasoning of their answers.

    Raises:
        UserError: the recipe wants a loss that only the template can place.
    """
    if not data.conversational or training.get("chat_template_path"):
        return data
    if not data.thinks or template_keeps_reasoning(tokenizer):
        return data
    if answers_only(training):
        raise UserError(
            "the model's chat template drops the reasoning, so that it cannot say which tokens are the assistant's",
            where="training.assistant_only_loss",
            remedy="Leave it out: the loss is on the completion alone.",
        )
    logger.info("data: the model's chat template drops reasoning; answers are written out around it")
    on_prompt = training.get("completion_only_loss") is False
    return replace(
        data,
        train=tokenize_with_reasoning(data.train, tokenizer, loss_on_prompt=on_prompt),
        eval=None if data.eval is None else tokenize_with_reasoning(data.eval, tokenizer, loss_on_prompt=on_prompt),
    )


def sft_config(recipe: Recipe, output_dir: Path) -> SFTConfig:
    """Return TRL's config for a recipe."""
    return SFTConfig(**trainer_arguments(recipe, output_dir, config=SFTConfig))
