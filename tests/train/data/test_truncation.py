"""Data of which nothing is trained on, and what is said of examples that are cut."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from datasets import Dataset
from trl.data_utils import pack_dataset

from runner.errors import UserError
from runner.recipe.formats.layouts import RowLayout
from runner.train.data.mixture import TrainingData
from runner.train.data.truncation import check_lengths

_CPT = {"packing": True, "packing_strategy": "bfd_split"}


def check(train: Dataset, *, rows: int, evaluation: Dataset | None = None, texts: Any = None, **args: Any) -> None:
    """Check prepared examples that came from as many raw rows."""
    raw = Dataset.from_dict({"text": texts or ["text"] * rows})
    layout = RowLayout.CONVERSATION if texts is None else RowLayout.TEXT
    data = TrainingData(
        train=raw, eval=None if evaluation is None else raw, layout=layout, questions=(), thinks=False, notes=()
    )
    settings = {"max_length": 4, "packing": False, "eval_packing": None, "packing_strategy": "bfd"}
    settings |= {"truncation_mode": "keep_start", "dataset_text_field": "text", **args}
    trainer = SimpleNamespace(args=SimpleNamespace(**settings), train_dataset=train, eval_dataset=evaluation)
    check_lengths(data, trainer)


def tokenized(*labels: list[int]) -> Dataset:
    return Dataset.from_dict({"input_ids": [list(range(len(row))) for row in labels], "labels": list(labels)})


def packed(*labels: list[int], strategy: str = "bfd") -> Dataset:
    return pack_dataset(tokenized(*labels), 4, strategy)


ASKED_TOO_LONG = [-100, -100, -100, -100, 5]
ANSWERED = [-100, -100, 7]


@pytest.mark.parametrize("strategy", ["bfd", "bfd_split", "wrapped"])
def test_packed_rows_without_a_token_to_train_on_are_refused(strategy: str) -> None:
    rows = packed([-100] * 6, [-100] * 2, strategy=strategy)
    with pytest.raises(UserError, match="all 2 examples") as caught:
        check(rows, rows=2, packing=True, packing_strategy=strategy)
    assert caught.value.where == ("training.max_length" if strategy == "bfd" else "data.train")


def test_packed_rows_whose_answers_are_all_cut_off_are_refused() -> None:
    with pytest.raises(UserError, match="in the first 4 tokens"):
        check(packed(ASKED_TOO_LONG, ASKED_TOO_LONG), rows=2, packing=True)


def test_packed_evaluation_rows_are_looked_at_too() -> None:
    with pytest.raises(UserError, match=r"data\.eval"):
        check(packed(ANSWERED), evaluation=packed(ASKED_TOO_LONG), rows=1, packing=True)
    with pytest.raises(UserError, match=r"data\.eval"):
        check(tokenized(ANSWERED), evaluation=packed(ASKED_TOO_LONG), rows=1, eval_packing=True)


def test_it_is_said_of_packed_rows_how_many_are_cut_and_how_many_train_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        check(packed(ANSWERED, ASKED_TOO_LONG, ASKED_TOO_LONG, [-100, 3], [-100, 4]), rows=5, packing=True)
    assert "data.train: 2 of 5 examples train nothing" in caplog.text
    assert "data.train: 2 of 5 examples are cut at 4 tokens" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_whoever_launches_is_told_if_half_of_the_rows_are_cut(caplog: pytest.LogCaptureFixture) -> None:
    check(tokenized([1, 2, 3, 4], [1, 2, 3, 4], ANSWERED), rows=3)
    [record] = caplog.records
    assert (record.levelno, "2 of 3 examples are cut" in record.message) == (logging.WARNING, True)


def test_nothing_is_said_of_rows_that_packing_only_splits(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        check(packed(ASKED_TOO_LONG, [1] * 9, strategy="bfd_split"), rows=2, **_CPT)
    assert not caplog.records


def test_rows_without_a_limit_must_train_something_too() -> None:
    check(tokenized(ANSWERED, [-100]), rows=2, max_length=None)
    with pytest.raises(UserError, match="no token is trained on"):
        check(tokenized([-100, -100], [-100]), rows=2, max_length=None)


def test_the_first_token_of_a_row_is_never_predicted() -> None:
    with pytest.raises(UserError, match="no token is trained on"):
        check(packed([2], [2], [2], strategy="bfd_split"), rows=3, **_CPT)


def test_texts_that_are_all_empty_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        check(tokenized([1, 2], [1, 2]), rows=2, texts=["", "text"])
    assert "1 of 2 texts are empty" in caplog.text
    with pytest.raises(UserError, match="all 2 texts are empty"):
        check(tokenized([1, 2], [1, 2]), rows=2, texts=["", " \n"])


def preferences(*pairs: tuple[list[int], list[int]]) -> Dataset:
    chosen, rejected = zip(*pairs, strict=True)
    return Dataset.from_dict({"prompt_ids": [[1, 2]] * len(pairs), "chosen_ids": chosen, "rejected_ids": rejected})


def test_pairs_of_equal_answers_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    check(preferences(([5], [5]), ([5], [6])), rows=2)
    with pytest.raises(UserError, match="nothing to prefer"):
        check(preferences(([5], [5]), ([6], [6])), rows=2)


def test_it_is_said_how_many_pairs_are_cut(caplog: pytest.LogCaptureFixture) -> None:
    check(preferences(([5, 6], [7]), ([5, 6, 7], [6])), rows=2)
    assert "data.train: 1 of 2 examples are cut at 4 tokens" in caplog.text
