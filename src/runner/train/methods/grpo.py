"""Group relative policy optimization, full or LoRA, through TRL's `GRPOTrainer`. Read it from top to bottom."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset
from transformers import GenerationConfig
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import RepeatSampler

from runner.errors import UserError
from runner.recipe.recipe import Recipe
from runner.recipe.suggestions import closest
from runner.train.checkpointing.trainer import ResumableTrainerMixin
from runner.train.methods.reward_checks import UnscoredBatches
from runner.train.methods.rewards import load_rewards
from runner.train.methods.training_arguments import tracks_best, trainer_arguments
from runner.train.stages.context import StageContext
from runner.train.stages.steps import StageRun, load, make_callbacks, new_adapter


class EpochSampler(RepeatSampler):
    """TRL's sampler, able to begin at any epoch: TRL's own shuffles from wherever the last epoch left the generator."""

    def set_epoch(self, epoch: int) -> None:
        """Move the generator to its state after all epochs before `epoch`."""
        if self.shuffle:
            assert self.seed is not None
            self.generator.manual_seed(self.seed)
            for _ in range(epoch):
                torch.randperm(self.num_samples, generator=self.generator)


class ResumableGRPOTrainer(ResumableTrainerMixin, GRPOTrainer):
    """TRL's `GRPOTrainer` with exact resume, also between two generations.

    It generates completions once for several steps and keeps them in memory. Each checkpoint holds them, and how many
    of them are used.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unscored = UnscoredBatches(self.reward_func_names)

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        rewards: torch.Tensor = super()._calculate_rewards(*args, **kwargs)
        self._unscored.observe(rewards)
        return rewards

    def method_state(self) -> dict[str, Any]:
        """Return copies of the generated completions, and the step within them."""
        buffered: list[dict[str, Any]] = self._buffered_inputs or []
        return {"step": self._step, "buffered_inputs": [_to_device(inputs, "cpu") for inputs in buffered]}

    def restore_method_state(self, state: dict[str, Any]) -> None:
        """Restore what `method_state` returned."""
        buffered: Any = [_to_device(inputs, self.accelerator.device) for inputs in state["buffered_inputs"]]
        self._step = state["step"]
        self._unscored.has_scored = True
        if buffered:
            # The step was split since, when it ran out of memory: one micro-batch has become several.
            pieces = len(buffered[0]["prompt_ids"]) // self.args.per_device_train_batch_size
            buffered = [piece for inputs in buffered for piece in _split_inputs(inputs, pieces)]
            self._step *= pieces
        self._buffered_inputs = buffered or None

    def _get_train_sampler(self, dataset: Dataset | None = None) -> EpochSampler:
        sampler = cast(RepeatSampler, super()._get_train_sampler(dataset))
        return EpochSampler(
            sampler.data_source,
            sampler.mini_repeat_count,
            sampler.batch_size,
            sampler.repeat_count,
            sampler.shuffle,
            sampler.seed,
        )


def train(context: StageContext) -> dict[str, Any]:
    """Train `context.recipe`, from its checkpoint if it has one, and commit the artifacts; return the stage's result.

    Raises:
        UserError: the model, the data, a reward function or a setting is wrong.
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
        UserError: the model, the data, a reward function or a setting is wrong.
    """
    recipe = context.recipe
    data, model, tokenizer = load(context)
    args = grpo_config(recipe, context.attempt.folder)
    assert args.max_completion_length is not None
    _check_prompts(args, data.train)
    binding = context.run_binding(tracks_best=tracks_best(recipe))
    trainer = ResumableGRPOTrainer(
        model=model,
        reward_funcs=load_rewards(
            recipe.training["reward_funcs"],
            inputs=context.attempt.input_path,
            columns=data.train.column_names,
            max_completion_length=args.max_completion_length,
        ),
        args=args,
        train_dataset=data.train,
        eval_dataset=data.eval,
        processing_class=tokenizer,
        peft_config=new_adapter(context, model),
        callbacks=make_callbacks(context, binding),
        binding=binding,
    )
    return StageRun(context, trainer, tokenizer, data=data, loss_is_cross_entropy=False)


def grpo_config(recipe: Recipe, output_dir: Path) -> GRPOConfig:
    """Return TRL's config for a recipe."""
    arguments = trainer_arguments(recipe, output_dir, config=GRPOConfig)
    del arguments["reward_funcs"]  # an argument of the trainer
    _check_generation(arguments.get("generation_kwargs"))
    try:
        return GRPOConfig(**arguments)
    except ValueError as error:
        raise UserError(str(error), where="training") from error


def _check_generation(written: Any) -> None:
    """Refuse arguments that transformers' `GenerationConfig` would keep and not read."""
    known = vars(GenerationConfig())
    unknown = [name for name in written if name not in known] if isinstance(written, Mapping) else []
    if unknown:
        meant = closest(unknown[0], known)
        raise UserError(
            f"generation takes no `{unknown[0]}`",
            where="training.generation_kwargs",
            remedy=f"Did you mean `{meant}`?" if meant else "Write arguments of transformers' GenerationConfig.",
        )


def _check_prompts(args: GRPOConfig, prompts: Dataset) -> None:
    """Refuse too few prompts: TRL only trains on whole generation batches, and would end without a single step."""
    assert args.generation_batch_size
    assert args.num_generations
    needed = args.generation_batch_size // args.num_generations
    if len(prompts) < needed:
        raise UserError(
            f"one generation batch takes {needed} prompts (generation_batch_size / num_generations), "
            f"and the data have {len(prompts)}",
            where="data.train",
            remedy="Bring more prompts, or lower effective_batch_size or steps_per_generation.",
        )


def _split_inputs(inputs: dict[str, Any], pieces: int) -> list[dict[str, Any]]:
    """Split a micro-batch's inputs by rows into `pieces`; each piece gets the inputs that are not by row."""
    rows = len(inputs["prompt_ids"])
    size = rows // pieces

    def part(value: Any, index: int) -> Any:
        by_row = isinstance(value, torch.Tensor | list) and not (isinstance(value, torch.Tensor) and value.dim() == 0)
        return value[index * size : (index + 1) * size] if by_row and len(value) == rows else value

    return [{name: part(value, index) for name, value in inputs.items()} for index in range(pieces)]


def _to_device(inputs: dict[str, Any], device: str | torch.device) -> dict[str, Any]:
    """Return copies of a step's inputs on another device."""
    return {
        name: value.detach().to(device, copy=True) if isinstance(value, torch.Tensor) else value
        for name, value in inputs.items()
    }
