"""The record of what a stage is trained with."""

from typing import Any

from runner.runs.record_types.measured import InputsRecord
from runner.train.stages.inputs_record import differences, hub_commit


def inputs(**more: Any) -> InputsRecord:
    record: Any = {"model": "o/m", "model_commit": "a" * 40, "tokenizer": "1", "rows": "2", "row_count": 3}
    record |= {"datasets": [{"entry": "data.train.0", "commit": "c" * 40, "fingerprint": None}], **more}
    return record  # type: ignore[no-any-return]


def test_weights_that_changed_on_the_hub_are_named() -> None:
    assert differences(inputs(), inputs()) == []
    assert differences(inputs(), inputs(model_commit="b" * 40)) == [
        f"the hub's commit of o/m ({'a' * 12}, now {'b' * 12})"
    ]
    datasets = [{"entry": "data.train.0", "commit": "d" * 40}]
    assert "data.train.0" in differences(inputs(), inputs(datasets=datasets))[0]
    assert differences(inputs(), inputs(tokenizer="9", rows="8")) == [
        "the tokenizer (1, now 9)",
        "the training rows (2, now 8)",
    ]


def test_what_is_not_known_has_not_changed() -> None:
    assert differences(inputs(model_commit=None), inputs()) == []
    assert differences(inputs(), inputs(model_commit=None)) == []


def test_a_commit_is_its_own() -> None:
    assert hub_commit("o/m", "model", "e" * 40) == "e" * 40
