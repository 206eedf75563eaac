"""Direct preference optimization, full or LoRA, through TRL's `DPOTrainer`. Read it from top to bottom.

The reference is the model that the stage starts from. With a new adapter it is the base with the adapter off; with an
adapter from the stage before it is a frozen copy of that (TRL makes it); without an adapter it is loaded a second time.
"""

from pathlib import Path
from typing import Any

from trl import DPOConfig, DPOTrainer

from runner.recipe.recipe import Recipe
from runner.train.checkpointing.trainer import ResumableTrainerMixin
from runner.train.data.truncation import check_lengths
from runner.train.methods.training_arguments import tracks_best, trainer_arguments
from runner.train.models.loading import load_model
from runner.train.stages.context import StageContext
from runner.train.stages.steps import StageRun, load, make_callbacks, new_adapter


class ResumableDPOTrainer(ResumableTrainerMixin, DPOTrainer):
    """TRL's `DPOTrainer` with exact resume."""

    def compute_ref_log_probs(self, *args: Any, **kwargs: Any) -> Any:
        """Compute a batch's as TRL does, and report that it is done: all of them in advance may take hours."""
        computed = super().compute_ref_log_probs(*args, **kwargs)
        self.binding.metrics.batch_done()
        return computed


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
    args = dpo_config(recipe, context.attempt.folder)  # before the model: ZeRO-3 partitions it as it is loaded
    data, model, tokenizer = load(context)
    # Not left to TRL, which would load it without the recipe's revision, type of weights and other settings.
    needs_reference = recipe.adapter is None and not recipe.training.get("precompute_ref_log_probs")
    reference = load_model(recipe, cache_dir=context.attempt.cache)[0] if needs_reference else None
    binding = context.run_binding(tracks_best=tracks_best(recipe))
    trainer = ResumableDPOTrainer(
        model=model,
        ref_model=reference,
        args=args,
        train_dataset=data.train,
        eval_dataset=data.eval,
        processing_class=tokenizer,
        peft_config=new_adapter(context, model),
        callbacks=make_callbacks(context, binding),
        binding=binding,
    )
    check_lengths(data, trainer)
    return StageRun(context, trainer, tokenizer, data=data, loss_is_cross_entropy=False)


def dpo_config(recipe: Recipe, output_dir: Path) -> DPOConfig:
    """Return TRL's config for a recipe."""
    return DPOConfig(**trainer_arguments(recipe, output_dir, config=DPOConfig))
