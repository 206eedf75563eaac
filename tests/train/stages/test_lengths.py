"""How long the examples of a stage are."""

from typing import Any

import pytest
from datasets import Dataset

from runner.train.stages.lengths import lengths_record

PREPARED: dict[str, dict[str, list[Any]]] = {
    "sft": {"input_ids": [[1, 2, 3], [1], [1, 2, 3, 4, 5, 6, 7]]},
    "packed": {"input_ids": [[1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7]], "seq_lengths": [[3, 1], [7]]},
    "dpo": {
        "prompt_ids": [[1], [1], [1]],
        "chosen_ids": [[1, 2], [], [1]],
        "rejected_ids": [[1], [], [1, 2, 3, 4, 5, 6]],
    },
}


@pytest.mark.parametrize("kind", PREPARED)
def test_an_example_has_the_length_that_is_trained_on_whatever_the_method_and_packing(kind: str) -> None:
    assert lengths_record(Dataset.from_dict(PREPARED[kind])) == {
        "examples": 3,
        "tokens": 11,
        "least": 1,
        "median": 3,
        "greatest": 7,
        "width": 1,
        "counts": [0, 1, 0, 1, 0, 0, 0, 1],
    }


def test_long_examples_are_counted_in_parts_that_are_equally_wide() -> None:
    record = lengths_record(Dataset.from_dict({"input_ids": [[1] * 100, [1] * 4, [1] * 5]}))
    assert record is not None
    assert record["width"] == 6
    assert record["counts"] == [2, *[0] * 15, 1]


def test_rows_that_are_tokenized_later_have_no_lengths() -> None:
    assert lengths_record(Dataset.from_dict({"prompt": ["a", "b"]})) is None
    assert lengths_record(Dataset.from_dict({"input_ids": []})) is None
