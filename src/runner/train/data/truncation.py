"""Log before the first step how many examples `max_length` cuts or drops."""

import logging
from typing import Any

import pyarrow.compute
from datasets import Dataset

from runner.errors import UserError
from runner.train.data.mixture import TrainingData

logger = logging.getLogger(__name__)

_BATCH_ROWS = 10_000


def check_lengths(data: TrainingData, trainer: Any) -> None:
    """Log how many examples `max_length` cuts or drops, and refuse to train if none is left.

    TRL cuts long examples, and silently drops those of which nothing to train on is left.

    Args:
        data: the trainer's data.
        trainer: one of TRL's, with its datasets prepared.

    Raises:
        UserError: no example has anything left to train on, or to measure on.
    """
    args = trainer.args
    packs = getattr(args, "packing", False)
    packs_eval = packs if getattr(args, "eval_packing", None) is None else args.eval_packing
    if args.max_length is None:
        return
    if not packs:
        _check("data.train", data.train, trainer.train_dataset, args.max_length)
    if data.eval is not None and not packs_eval:
        _check("data.eval", data.eval, trainer.eval_dataset, args.max_length)


def _check(where: str, before: Dataset, after: Dataset, length: int) -> None:
    if len(after) == 0:
        raise UserError(
            f"{where}: of all {len(before)} examples, nothing that is trained on lies in the first {length} tokens",
            where="training.max_length",
            remedy="Write a larger max_length, or shorten the prompts.",
        )
    lost, cut = len(before) - len(after), _count_at_limit(after, length)
    if lost:
        what = f"the first {length} tokens (training.max_length) hold nothing that is trained on"
        logger.info(f"{where}: dropped {lost} of {len(before)} examples: {what}")
    if cut:
        logger.info(f"{where}: {cut} of {len(after)} examples are cut at {length} tokens (training.max_length)")


def _count_at_limit(dataset: Dataset, length: int) -> int:
    """Count the examples as long as the limit. TRL cuts them while it prepares them for `sft`, and later for `dpo`."""
    if "input_ids" not in dataset.column_names:
        return 0
    batches = dataset.select_columns("input_ids").with_format("arrow").iter(_BATCH_ROWS)
    lengths = (pyarrow.compute.list_value_length(batch["input_ids"]).to_numpy() for batch in batches)
    return sum(int((batch >= length).sum()) for batch in lengths)
