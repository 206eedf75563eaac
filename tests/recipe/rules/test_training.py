"""A training that would take no step is refused while its rows can be counted."""

import json
from pathlib import Path

import pytest

from support.recipes import Check, Refuse, settings_of

DROPS = ("data.train.0.path=rows.jsonl", "training.dataloader_drop_last=true")


@pytest.fixture
def rows(tmp_path: Path) -> None:
    """Three rows."""
    row = json.dumps({"prompt": "What is 1?", "completion": "1"}) + "\n"
    (tmp_path / "rows.jsonl").write_text(3 * row)


@pytest.mark.usefixtures("rows")
def test_rows_that_fill_no_batch_are_refused_where_the_last_batch_is_dropped(check: Check, refuse: Refuse) -> None:
    for more in ((), ("training.packing=true", "training.packing_strategy=bfd")):
        error = refuse(*DROPS, *more)
        assert settings_of(error) == ["training.dataloader_drop_last"]
        assert "3 rows, which do not fill a batch of 8" in str(error)
        assert "`per_device_train_batch_size: 3`" in str(error)
    check(*DROPS, "training.per_device_train_batch_size=3")
    check(DROPS[0])
    check(*DROPS, "training.packing=true", "training.packing_strategy=bfd_split")
    check(*DROPS, "training.effective_batch_size=8")


def test_rows_that_are_not_all_read_are_left_to_the_training(check: Check) -> None:
    check(DROPS[1])  # built-in data


def test_no_epochs_train_nothing(check: Check, refuse: Refuse) -> None:
    for count in ("0", "-1"):
        error = refuse("training.max_steps=-1", f"training.num_train_epochs={count}")
        assert "training.num_train_epochs" in settings_of(error)
    check("training.max_steps=-1", "training.num_train_epochs=0.1")


def test_a_learning_rate_of_0_is_said(check: Check) -> None:
    assert [warning for warning in check("training.learning_rate=0").warnings if "0 changes no weight" in str(warning)]
    assert not check("training.learning_rate=1e-5").warnings


def test_an_evaluation_every_0_steps_is_refused_since_transformers_takes_it_for_logging_steps(
    check: Check, refuse: Refuse
) -> None:
    evaluates = ("training.eval_strategy=steps", "data.eval.from_train=1")
    error = refuse(*evaluates, "training.eval_steps=0")
    assert settings_of(error) == ["training.eval_steps"]
    assert "`eval_strategy: no`" in str(error)
    check(*evaluates, "training.eval_steps=1")


@pytest.mark.usefixtures("rows")
def test_rows_are_left_to_train_on(check: Check, refuse: Refuse) -> None:
    evaluates = ("training.eval_strategy=epoch", DROPS[0])
    for part in ("3", "100", "0.9"):
        error = refuse(*evaluates, f"data.eval.from_train={part}")
        assert settings_of(error) == ["data.eval.from_train"]
        assert "of 3 rows leaves none to train on" in str(error)
    for part in ("2", "0.1"):
        check(*evaluates, f"data.eval.from_train={part}")
    check(evaluates[0], "data.eval.from_train=100")  # built-in data are not counted
