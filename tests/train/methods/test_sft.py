"""How a recipe becomes TRL's config."""

import warnings
from pathlib import Path
from typing import Any

import pytest

from runner.train.methods.sft import sft_config
from support.runs import recipe


def config(tmp_path: Path, **training: Any) -> Any:
    return sft_config(recipe(tmp_path / "data.jsonl", adapter=False, **training), tmp_path)


def test_evaluation_is_as_rare_as_the_recipe_says(tmp_path: Path) -> None:
    """The trainer logs each step for the metrics; that must not make it evaluate at each step."""
    assert config(tmp_path, eval_steps=4).eval_steps == 4
    assert config(tmp_path, eval_steps=None, logging_steps=7).eval_steps == 7
    silent = recipe(tmp_path / "data.jsonl", adapter=False)
    for name in ("eval_steps", "logging_steps"):
        silent.training.pop(name)  # type: ignore[attr-defined]
    assert sft_config(silent, tmp_path).eval_steps == 10


@pytest.mark.parametrize(
    ("said", "checkpointing"),
    [
        ({"gradient_checkpointing": False}, False),
        ({"gradient_checkpointing": True}, True),
        ({"activation_checkpointing": False, "gradient_checkpointing": True}, False),
    ],
)
def test_activation_checkpointing_goes_by_its_old_name_without_a_warning(
    said: dict[str, bool], checkpointing: bool, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        assert config(tmp_path, **said).activation_checkpointing is checkpointing


def test_the_recipes_batch_is_kept_however_it_is_split(tmp_path: Path) -> None:
    made = config(tmp_path, per_device_train_batch_size=None, gradient_accumulation_steps=None, effective_batch_size=12)
    assert made.per_device_train_batch_size * made.gradient_accumulation_steps == 12


def test_saving_is_ours(tmp_path: Path) -> None:
    made = config(tmp_path, save_strategy="epoch", load_best_model_at_end=True)
    assert (made.save_strategy, made.load_best_model_at_end) == ("no", False)
    assert made.metric_for_best_model == "loss"
