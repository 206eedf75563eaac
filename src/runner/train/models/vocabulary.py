"""Check before the first step that the model has an embedding for each token and a position for each place.

On a GPU a token without an embedding ends the process with a "device-side assert" that names neither token nor row.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow.compute
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from runner.errors import UserError
from runner.train.models.targets import base_module, embedding_rows

logger = logging.getLogger(__name__)

_TOKEN_COLUMNS = ("input_ids", "prompt_ids", "chosen_ids", "rejected_ids")
"""The columns in which TRL's trainers keep tokens."""
_BATCH_ROWS = 10_000
_OFFSETS = 8
"""How many rows a table of positions may have beyond the positions: OPT's first two stand for padding."""
_MOST_SHOWN = 5


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Refuse a tokenizer that knows nothing but special tokens.

    transformers makes one where the files of a tokenizer are missing; every text would be no tokens at all.

    Args:
        tokenizer: the model's.
        name: the model's name or folder.

    Raises:
        UserError: it is empty.
    """
    if len(tokenizer) > len(tokenizer.all_special_tokens) + _OFFSETS:
        return
    if set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens) <= {"▁"}:  # T5's also has a blank
        raise no_tokenizer(name)


def no_tokenizer(name: str) -> UserError:
    """Return what to say of a model that comes without a tokenizer."""
    return UserError(
        f"{name} has no tokenizer",
        where="model.model_name_or_path",
        remedy="Put the tokenizer's files (tokenizer.json, tokenizer_config.json) beside the weights; those of the "
        "model that it was made from, for example.",
    )


def check_named_tokens(tokenizer: PreTrainedTokenizerBase, training: Mapping[str, Any]) -> None:
    """Check that the tokens which the recipe names are in the vocabulary.

    Raises:
        UserError: `eos_token` or `pad_token` is not.
    """
    vocabulary = tokenizer.get_vocab()
    for key in ("eos_token", "pad_token"):
        token = training.get(key)
        if key == "pad_token" and training.get("chat_template_path"):
            continue  # TRL takes it from the tokens that come with the template
        if token is not None and token not in vocabulary:
            raise UserError(
                f"`{token}` is not in the vocabulary of the model's tokenizer",
                where=f"training.{key}",
                remedy=f"Its special tokens are: {', '.join(tokenizer.all_special_tokens)}.",
            )


def check_embeddings(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    datasets: Mapping[str, Dataset],
    prompts: Mapping[str, Sequence[Any]],
) -> None:
    """Check that the model has an embedding for each token that it will be given.

    Costs nothing for a tokenizer without tokens beyond the embeddings.

    Args:
        model: the model, with its adapter if it has one.
        tokenizer: the model's.
        datasets: what the trainer reads, by the name of the setting that it comes from.
        prompts: texts and messages that the model completes, by setting.

    Raises:
        UserError: it has not.
    """
    rows = embedding_rows(model.get_input_embeddings())
    if rows is None or max(tokenizer.get_vocab().values(), default=0) < rows:
        return
    for name in ("eos_token", "pad_token"):
        token_id = getattr(tokenizer, f"{name}_id")
        if isinstance(token_id, int) and token_id >= rows:
            raise _beyond(tokenizer, {token_id}, rows, f"the tokenizer's {name}")
    for where, dataset in datasets.items():
        beyond: set[int] = set()
        for column in _token_columns(dataset):
            for ids in _values(dataset, column):
                beyond |= set(pyarrow.compute.unique(ids.filter(pyarrow.compute.greater_equal(ids, rows))).to_pylist())
        if beyond:
            raise _beyond(tokenizer, beyond, rows, where)
    for where, texts in prompts.items():
        beyond = {token for ids in _tokenized(tokenizer, texts) for token in ids if token >= rows}
        if beyond:
            raise _beyond(tokenizer, beyond, rows, where)


def check_positions(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    datasets: Mapping[str, Dataset],
    prompts: Mapping[str, Sequence[Any]],
    *,
    max_length: int | None,
    new_tokens: Mapping[str, int],
) -> None:
    """Check that the model has a position for each place in the rows and in what it generates.

    A model with a table of positions (GPT-2, OPT) cannot read on behind its end. One with rotary positions can, but was
    not made for it: that is only said.

    Args:
        model: the model, with its adapter if it has one.
        tokenizer: the model's.
        datasets: what the trainer reads, by the name of the setting that it comes from.
        prompts: texts and messages that the model completes, by setting.
        max_length: the length at which the trainer cuts.
        new_tokens: by setting of the prompts: the setting of the length of a generation, and that length.

    Raises:
        UserError: rows or generations are longer than the model's table.
    """
    positions = _positions(model)
    if positions is None:
        return
    has_table = _has_table(model, positions)
    for where, dataset in datasets.items():
        longest = _longest(dataset)
        longest = longest if max_length is None else min(longest, max_length)
        if longest > positions:
            what = f"{where} has rows of {longest} tokens, and the model has {positions} positions"
            if has_table:
                raise UserError(what, where="training.max_length", remedy=f"Write `max_length: {positions}` or less.")
            logger.warning(f"{what} (max_position_embeddings): `training.max_length` cuts rows")
    for where, texts in prompts.items() if has_table else ():
        longest = max(map(len, _tokenized(tokenizer, texts)), default=0)
        setting, count = where, new_tokens[where]
        if longest and longest + count > positions:
            raise UserError(
                f"{setting} has a prompt of {longest} tokens; {count} new ones do not fit into the model's {positions} "
                "positions",
                where=setting,
                remedy=f"Shorten the prompts, or generate less than {count} tokens.",
            )


def _beyond(tokenizer: PreTrainedTokenizerBase, ids: Iterable[int], rows: int, where: str) -> UserError:
    shown = sorted(ids)
    names = ", ".join(f"`{tokenizer.convert_ids_to_tokens(token)}` ({token})" for token in shown[:_MOST_SHOWN])
    more = f" and {len(shown) - _MOST_SHOWN} more" if len(shown) > _MOST_SHOWN else ""
    return UserError(
        f"{where} has tokens that the model has no embeddings for: {names}{more}; its embeddings have {rows} rows",
        where="model.model_name_or_path",
        remedy="Use the tokenizer that belongs to the model, or enlarge the model once: "
        "`model.resize_token_embeddings(len(tokenizer))`, and save both in one folder.",
    )


def _token_columns(dataset: Dataset) -> list[str]:
    return [column for column in _TOKEN_COLUMNS if column in dataset.column_names]


def _values(dataset: Dataset, column: str) -> Iterator[Any]:
    """Yield the tokens of a column, many rows at a time."""
    for batch in dataset.select_columns(column).with_format("arrow").iter(_BATCH_ROWS):
        yield pyarrow.compute.list_flatten(batch[column].combine_chunks())


def _tokenized(tokenizer: PreTrainedTokenizerBase, prompts: Iterable[Any]) -> Iterator[list[int]]:
    """Yield the tokens of each prompt.

    A text that stands for a user's message is taken without the template: it is about as long.
    """
    for prompt in prompts:
        if isinstance(prompt, str):
            yield tokenizer(prompt)["input_ids"]
        elif tokenizer.chat_template is not None:
            text = str(tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True))
            yield tokenizer(text, add_special_tokens=False)["input_ids"]


def _positions(model: Any) -> int | None:
    """Return how many positions the model was made for; None if it does not say, or stretches them itself."""
    config = getattr(model, "config", None)
    if config is None:
        return None
    config = config.get_text_config()
    rope = getattr(config, "rope_parameters", None) or {}
    if "dynamic" in str(rope):
        return None
    positions = getattr(config, "max_position_embeddings", None)
    return positions if isinstance(positions, int) and positions > 0 else None


def _has_table(model: Any, positions: int) -> bool:
    """Whether the model learns its positions: it has embeddings of as many rows besides those of the tokens."""
    tokens = base_module(model.get_input_embeddings())
    return any(
        isinstance(module, torch.nn.Embedding)
        and module is not tokens
        and positions <= module.num_embeddings <= positions + _OFFSETS
        for module in model.modules()
    )


def _longest(dataset: Dataset) -> int:
    """Return the length of the longest row in tokens; of packed rows, that of the longest example in them."""
    if "seq_lengths" in dataset.column_names:
        lengths = (pyarrow.compute.max(values).as_py() for values in _values(dataset, "seq_lengths"))
        return max((length for length in lengths if length is not None), default=0)
    longest = 0
    columns = _token_columns(dataset)
    for batch in dataset.select_columns(columns).with_format("arrow").iter(_BATCH_ROWS) if columns else ():
        by_column = {name: pyarrow.compute.list_value_length(batch[name]).to_numpy() for name in columns}
        lengths = sum(lengths for name, lengths in by_column.items() if name in ("input_ids", "prompt_ids"))
        answers = [lengths for name, lengths in by_column.items() if name in ("chosen_ids", "rejected_ids")]
        for answer in answers or [0]:
            longest = max(longest, int((lengths + answer).max(initial=0)))
    return longest
