"""What `max_length` left of the data, said before the first step."""

import logging
from typing import Any

import pyarrow.compute
from datasets import Dataset

from runner.errors import UserError
from runner.train.data.mixture import TrainingData

logger = logging.getLogger(__name__)

_BATCH = 10_000


def check_lengths(data: TrainingData, trainer: Any) -> None:
    """Say how many examples `max_length` cuts or drops, and refuse to train where none is left.

    TRL cuts what is too long, and drops without a word an example of which nothing to train on is left.

    Args:
        data: what was given to the trainer.
        trainer: of TRL's, with its datasets prepared.

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
    lost, cut = len(before) - len(after), _reaching(after, length)
    if lost:
        what = f"the first {length} tokens (training.max_length) hold nothing that is trained on"
        logger.info(f"{where}: dropped {lost} of {len(before)} examples: {what}")
    if cut:
        logger.info(f"{where}: {cut} of {len(after)} examples are cut at {length} tokens (training.max_length)")


def _reaching(dataset: Dataset, length: int) -> int:
    """How many examples are as long as one may be. TRL cuts them while it prepares them for `sft`, later for `dpo`."""
    if "input_ids" not in dataset.column_names:
        return 0
    batches = dataset.select_columns("input_ids").with_format("arrow").iter(_BATCH)
    lengths = (pyarrow.compute.list_value_length(batch["input_ids"]).to_numpy() for batch in batches)
    return sum(int((one >= length).sum()) for one in lengths)
