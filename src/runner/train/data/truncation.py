"""Log before the first step how many examples `max_length` cuts or drops, and refuse data that train nothing."""

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow.compute
from datasets import Dataset

from runner.errors import UserError
from runner.recipe.formats.layouts import RowLayout
from runner.train.data.mixture import TrainingData

logger = logging.getLogger(__name__)

_BATCH_ROWS = 10_000
_IGNORED = -100
"""The label of a token that is not trained on."""


def check_lengths(data: TrainingData, trainer: Any) -> None:
    """Log how many examples `max_length` cuts or drops, and refuse to train if nothing is left to train on.

    TRL cuts long examples. It silently drops those of which nothing to train on is left; packed, it keeps them.

    Args:
        data: the trainer's data.
        trainer: one of TRL's, with its datasets prepared.

    Raises:
        UserError: no example has anything left to train on, or to measure on.
    """
    _check_texts(data, trainer.args)
    args = trainer.args
    packs = getattr(args, "packing", False)
    packs_eval = packs if getattr(args, "eval_packing", None) is None else args.eval_packing
    sets = [("data.train", data.train, trainer.train_dataset, packs)]
    if data.eval is not None:
        sets.append(("data.eval", data.eval, trainer.eval_dataset, packs_eval))
    for where, before, after, packed in sets:
        _check_pairs(where, after)
        if packed:
            _check_packed(where, len(before), after, args.max_length, args.packing_strategy)
        else:
            _check(where, len(before), after, args.max_length, getattr(args, "truncation_mode", "keep_start"))


def example_lengths(dataset: Dataset) -> Iterator[np.ndarray]:
    """Yield the lengths of a prepared dataset's examples in tokens, many at a time; nothing if it has no tokens.

    A pair counts with the longer of its answers, a packed sequence as the examples in it.
    """
    known = (("seq_lengths",), ("input_ids",), ("prompt_ids", "chosen_ids", "rejected_ids"))
    columns = next((names for names in known if set(names) <= set(dataset.column_names)), None)
    if columns is None:
        return
    for batch in dataset.select_columns(list(columns)).with_format("arrow").iter(_BATCH_ROWS):
        if columns == ("seq_lengths",):
            yield pyarrow.compute.list_flatten(batch["seq_lengths"].combine_chunks()).to_numpy(zero_copy_only=False)
            continue
        first, *answers = (pyarrow.compute.list_value_length(batch[name]).to_numpy() for name in columns)
        yield first + np.maximum(*answers) if answers else first


def _check(where: str, before: int, after: Dataset, length: int | None, mode: str) -> None:
    if len(after) == 0 or not _has_labels(after):
        raise _nothing_left(where, before, length, mode)
    if length is None:
        return
    lost, cut = before - len(after), _count_long(after, length)
    if lost:
        what = f"the first {length} tokens (training.max_length) hold nothing that is trained on"
        logger.info(f"{where}: dropped {lost} of {before} examples: {what}")
    if cut:
        _say_cut(where, cut, len(after), length)


def _check_packed(where: str, before: int, after: Dataset, length: int, strategy: str) -> None:
    """Check packed examples. Only the strategy `bfd` cuts; the others go on in the next sequence."""
    if not _has_labels(after):
        raise _nothing_left(where, before, length if strategy == "bfd" else None, "keep_start")
    if strategy != "bfd" or "seq_lengths" not in after.column_names:
        return
    cut = empty = 0
    for lengths, trained in _packed_examples(after):
        cut += int((lengths >= length).sum())
        empty += int((trained == 0).sum())
    if empty:
        what = f"the first {length} tokens (training.max_length) hold nothing that is trained on"
        logger.info(f"{where}: {empty} of {before} examples train nothing: {what}")
    if cut:
        _say_cut(where, cut, before, length)


def _say_cut(where: str, cut: int, rows: int, length: int) -> None:
    """Log how many examples are cut; if they are half of all or more, whoever launched the run sees it too."""
    level = logging.WARNING if 2 * cut >= rows else logging.INFO
    logger.log(level, f"{where}: {cut} of {rows} examples are cut at {length} tokens (training.max_length)")


def _check_texts(data: TrainingData, args: Any) -> None:
    """Refuse texts that are all empty, and log how many are."""
    if data.layout is not RowLayout.TEXT:
        return
    texts, blank = args.dataset_text_field, 0
    for batch in data.train.select_columns(texts).with_format("arrow").iter(_BATCH_ROWS):
        trimmed = pyarrow.compute.utf8_trim_whitespace(batch[texts])
        blank += int(pyarrow.compute.sum(pyarrow.compute.equal(trimmed, "")).as_py() or 0)
    if blank == len(data.train):
        raise UserError(f"all {blank} texts are empty", where="data.train")
    if blank:
        logger.info(f"data.train: {blank} of {len(data.train)} texts are empty")


def _check_pairs(where: str, dataset: Dataset) -> None:
    """Refuse pairs whose two answers are always the same: nothing is preferred. Stops at the first that is not."""
    if "chosen_ids" not in dataset.column_names or not len(dataset):
        return
    rows = dataset.select_columns(["chosen_ids", "rejected_ids"])
    if all(row["chosen_ids"] == row["rejected_ids"] for row in rows):
        raise UserError(
            f"in all {len(dataset)} examples, `chosen` and `rejected` are the same: there is nothing to prefer",
            where=where,
        )


def _nothing_left(where: str, rows: int, length: int | None, mode: str) -> UserError:
    if length is None:
        return UserError(
            f"of all {rows} examples, no token is trained on",
            where=where,
            remedy="Are the answers empty? Is the loss on what the data do not have (completion_only_loss, "
            "assistant_only_loss)?",
        )
    end = "first" if mode == "keep_start" else "last"
    return UserError(
        f"{where}: of all {rows} examples, nothing that is trained on lies in the {end} {length} tokens",
        where="training.max_length",
        remedy="Write a larger max_length, or shorten the prompts.",
    )


def _has_labels(dataset: Dataset) -> bool:
    """Whether any token is trained on. Stops at the first that is; a method without labels trains on all answers."""
    if "labels" not in dataset.column_names:
        return True
    return any(bool((labels != _IGNORED).any()) for _, labels in _labels(dataset))


def _labels(dataset: Dataset) -> Iterator[tuple[Any, np.ndarray]]:
    """Yield batches of the dataset with the labels of their rows, one after the other, that have one before them.

    The first token of a row is never predicted.
    """
    columns = [name for name in ("labels", "seq_lengths") if name in dataset.column_names]
    for batch in dataset.select_columns(columns).with_format("arrow").iter(_BATCH_ROWS):
        column = batch["labels"].combine_chunks()
        labels = pyarrow.compute.list_flatten(column).to_numpy(zero_copy_only=False).copy()
        by_row = batch["seq_lengths"].combine_chunks() if "seq_lengths" in columns else None
        lengths = pyarrow.compute.list_value_length(column) if by_row is None else pyarrow.compute.list_flatten(by_row)
        labels[_starts(lengths.to_numpy(zero_copy_only=False))] = _IGNORED
        yield batch, labels


def _starts(lengths: np.ndarray) -> np.ndarray:
    """Return where each example begins in all of them together, without those that are empty."""
    starts: np.ndarray = (np.cumsum(lengths) - lengths)[lengths > 0]
    return starts


def _packed_examples(dataset: Dataset) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the lengths of the examples in packed sequences, and how many tokens of each are trained on."""
    for batch, labels in _labels(dataset):
        lengths = pyarrow.compute.list_flatten(batch["seq_lengths"].combine_chunks()).to_numpy(zero_copy_only=False)
        if len(lengths):
            yield lengths, np.add.reduceat((labels != _IGNORED).astype(np.int64), _starts(lengths))


def _count_long(dataset: Dataset, length: int) -> int:
    """Count the examples as long as the limit, or longer: TRL cuts them already for `sft`, and at each step for `dpo`.

    An example of exactly this length is counted too where it cannot be told from one that was cut.
    """
    least = length if "input_ids" in dataset.column_names else length + 1
    return sum(int((lengths >= least).sum()) for lengths in example_lengths(dataset))
