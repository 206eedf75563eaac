"""What is checked of a stage between the making of its trainer and its first step, and of its steps after the last."""

import logging
from collections.abc import Sequence
from typing import Any

from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedTokenizerBase

from runner.errors import UserError
from runner.train.checkpointing.divergence import TrainingDiverged
from runner.train.data.mixture import TrainingData
from runner.train.finite import all_weights, name_some, not_finite
from runner.train.models.vocabulary import check_embeddings, check_positions
from runner.train.stages.context import StageContext

logger = logging.getLogger(__name__)


def check_before_training(
    context: StageContext, trainer: Any, tokenizer: PreTrainedTokenizerBase, data: TrainingData
) -> None:
    """Check that the model can read what it is given, and that the data make at least one step.

    An attempt that goes on from a checkpoint has the rows that were checked before it was taken.

    Args:
        context: the stage's.
        trainer: the method's, with its datasets prepared.
        tokenizer: the model's.
        data: the stage's.

    Raises:
        UserError: a token has no embedding, a row or a generation is longer than the model, the model's weights are not
            finite, no step would be taken, or nothing would be evaluated.
    """
    if context.restored is not None:
        return
    if names := not_finite(all_weights(trainer.model)):
        raise UserError(
            f"the model has weights that are infinite or not a number before the first step ({name_some(names)})",
            where="model.model_name_or_path",
            remedy="Name another model, or another model.dtype: large weights do not fit into float16.",
        )
    datasets = {"data.train": trainer.train_dataset, "data.eval": trainer.eval_dataset}
    datasets = {where: dataset for where, dataset in datasets.items() if dataset is not None}
    prompts, new_tokens = _prompts(context, trainer, data)
    check_embeddings(trainer.model, tokenizer, datasets, prompts)
    max_length = getattr(trainer.args, "max_length", None)
    check_positions(trainer.model, tokenizer, datasets, prompts, max_length=max_length, new_tokens=new_tokens)
    check_evaluation(trainer)
    if not context.measures_only:
        check_steps(trainer, rows=len(data.train))


def check_evaluation(trainer: Any) -> None:
    """Check that the evaluation data fill a batch, where what fills none is dropped.

    Args:
        trainer: with its datasets prepared.

    Raises:
        UserError: they do not: an evaluation would have no loss.
    """
    args = trainer.args
    if trainer.eval_dataset is None or not args.dataloader_drop_last:
        return
    answers = getattr(trainer, "num_generations_eval", 1)  # GRPO answers each prompt so many times
    rows, batch = len(trainer.eval_dataset), args.per_device_eval_batch_size
    if rows * answers // batch // args.world_size:
        return
    each = "" if args.world_size == 1 else f" for each of {args.world_size} processes"
    raise UserError(
        f"data.eval has {rows} rows; they do not fill a batch of {batch}{each}, and a batch that is not full is "
        "dropped: nothing would be evaluated",
        where="training.dataloader_drop_last",
        remedy=_smaller_batch(rows * answers // args.world_size, "per_device_eval_batch_size"),
    )


def check_steps(trainer: Any, *, rows: int) -> None:
    """Check that the training data fill a batch, where what fills none is dropped.

    Args:
        trainer: with its dataset prepared.
        rows: how many rows the training data have before they are packed.

    Raises:
        UserError: they do not.
    """
    args = trainer.args
    if args.max_steps <= 0 and args.num_train_epochs <= 0:
        what = f"{args.num_train_epochs:g} epochs train nothing"
        raise UserError(what, where="training.num_train_epochs", remedy="Write a number above 0.")
    if not args.dataloader_drop_last or hasattr(args, "num_generations"):  # GRPO's prompts are checked by its script
        return
    examples, batch = len(trainer.train_dataset), args.per_device_train_batch_size
    if examples // batch // args.world_size:
        return
    packed = f" (packed into {examples})" if getattr(args, "packing", False) and examples != rows else ""
    each = "" if args.world_size == 1 else f" for each of {args.world_size} processes"
    raise UserError(
        f"data.train has {rows} rows{packed}; they do not fill a batch of {batch}{each}, and a batch that is not full "
        "is dropped: no step would be taken",
        where="training.dataloader_drop_last",
        remedy=_smaller_batch(examples // args.world_size, "per_device_train_batch_size"),
    )


def _smaller_batch(size: int, setting: str) -> str:
    """Return what to write so that the data fill a batch."""
    less = f", or write `{setting}: {size}`" if size else ""
    return f"Leave dataloader_drop_last out{less}."


def check_steps_taken(trainer: Any) -> None:
    """Check at the end of a training that it has trained.

    Raises:
        UserError: no optimizer step was taken.
        TrainingDiverged: `float16` skipped each of them.
    """
    if not trainer.state.global_step:
        raise UserError(
            f"no optimizer step was taken: the data make no batch of {trainer.args.per_device_train_batch_size}",
            where="data.train",
            remedy="Bring more rows, or lower training.per_device_train_batch_size.",
        )
    scaler, scheduler = getattr(trainer.accelerator, "scaler", None), trainer.lr_scheduler
    # The scheduler steps with the optimizer, and both are in each checkpoint.
    if scaler is not None and isinstance(scheduler, LambdaLR) and scheduler.last_epoch == 0:
        what = f"float16 gradients overflowed in each of {trainer.state.global_step} steps, and all were skipped"
        raise TrainingDiverged(what, last_good=0)


def _prompts(
    context: StageContext, trainer: Any, data: TrainingData
) -> tuple[dict[str, Sequence[Any]], dict[str, int]]:
    """Return what the model will complete, by setting, and the length of the completions."""
    evaluate, args = context.recipe.evaluate, trainer.args
    prompts: dict[str, Sequence[Any]] = {}
    new_tokens: dict[str, int] = {}
    if hasattr(args, "num_generations"):  # GRPO
        prompts["data.train"] = data.train["prompt"]
        new_tokens["data.train"] = args.max_completion_length
    if evaluate.before_and_after or context.measures_only:
        prompts["evaluate.prompts"] = evaluate.prompts
        new_tokens["evaluate.prompts"] = evaluate.max_new_tokens
        if evaluate.exact_match is not None:
            prompts["evaluate.exact_match"] = [question.prompt for question in data.questions]
            new_tokens["evaluate.exact_match"] = evaluate.exact_match.max_new_tokens
    return prompts, new_tokens
