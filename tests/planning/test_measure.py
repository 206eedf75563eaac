"""Row lengths from data on this machine, and what a plan makes of them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.fit.accelerators import ACCELERATORS
from runner.fit.model_shape import bundled_config
from runner.planning.measure import measure_rows
from runner.planning.plan import Row, plan
from runner.planning.prices import Prices
from runner.recipe.recipe import Data, DataSource, Recipe

NAME = "unsloth/Llama-3.2-1B-Instruct"


def recipe_of(path: Path, rows: list[dict[str, Any]], **parts: Any) -> Recipe:
    """A recipe whose data are these rows."""
    file = path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = {
        "name": "r",
        "method": "sft",
        "model": {"model_name_or_path": NAME},
        "data": Data(train=(DataSource(path=str(file)),)),
        "adapter": {"r": 16, "target_modules": "all-linear"},
        "training": {"per_device_train_batch_size": 4, "max_length": 4096, "gradient_checkpointing": False},
    }
    return Recipe(**{**made, **parts})


def planned(recipe: Recipe, *, measured: bool) -> Row:
    """The plan on an A100, with or without the data's lengths."""
    lengths = [measure_rows(recipe)] if measured else []
    wanted = [(ACCELERATORS["A100-80GB"], 1)]
    config = bundled_config(NAME) or {}
    return plan(recipe, config, Prices(offers=(), source=""), wanted=wanted, lengths=lengths)[0]


def test_rows_are_counted_with_the_bytes_of_their_text(tmp_path: Path) -> None:
    rows = [{"prompt": "a" * 10, "completion": "b" * 20, "id": "c" * 500}] * 3
    rows.append({"prompt": "é" * 50, "completion": "b" * 1000, "id": ""})
    found = measure_rows(recipe_of(tmp_path, rows))
    assert found is not None
    assert (found.rows, found.complete) == (4, True)
    assert (found.longest_bytes, found.longest_prompt_bytes) == (1100, 100)
    assert found.mean_bytes == (3 * 30 + 1100) / 4
    assert found.longest == 1100 / 2.5 + 48


@pytest.mark.parametrize(
    ("rows", "longest", "prompt"),
    [
        ([{"messages": [{"role": "user", "content": "x" * 96}]}], 100, 100),
        ([{"prompt": "p" * 10, "chosen": "c" * 30, "rejected": "r" * 50}], 60, 10),
        ([{"body": "x" * 70, "head": "y" * 30}], 100, 100),
    ],
)
def test_every_format_is_measured(tmp_path: Path, rows: list[dict[str, Any]], longest: int, prompt: int) -> None:
    found = measure_rows(recipe_of(tmp_path, rows))
    assert found is not None
    assert (found.longest_bytes, found.longest_prompt_bytes) == (longest, prompt)


def test_data_elsewhere_or_changed_by_a_filter_is_not_measured(tmp_path: Path) -> None:
    local = recipe_of(tmp_path, [{"text": "a"}])
    [source] = local.data.train
    assert measure_rows(local) is not None
    for other in (DataSource(path="user/name"), replace(source, filter={"lang": "en"})):
        assert measure_rows(replace(local, data=Data(train=(source, other)))) is None


def test_a_sample_counts_as_the_rows_that_are_drawn(tmp_path: Path) -> None:
    local = recipe_of(tmp_path, [{"text": "a"}] * 10)
    for sample, rows in ((0.5, 5), (3, 3), (30, 10)):
        found = measure_rows(replace(local, data=Data(train=(replace(local.data.train[0], sample=sample),))))
        assert found is not None
        assert found.rows == rows


def test_short_rows_need_less_memory_and_time_than_max_length_says(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, [{"text": "word " * 50}] * 400)
    unknown, known = planned(recipe, measured=False), planned(recipe, measured=True)
    assert known.fit.memory_gib < 0.5 * unknown.fit.memory_gib
    assert any("rows of at most 148 tokens" in note for note in known.fit.notes)
    assert known.time is not None
    assert known.time.steps == 3 * 100  # epochs, batches of 4
    assert not any("rows of training data" in note for note in known.time.assumptions)


def test_packed_rows_are_as_long_as_max_length(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, [{"text": "word " * 50}] * 400)
    packed = replace(recipe, training={**recipe.training, "packing": True})
    assert planned(packed, measured=True).fit.memory_gib == planned(packed, measured=False).fit.memory_gib


def test_prompts_of_grpo_are_as_long_as_the_data_says(tmp_path: Path) -> None:
    training = {"effective_batch_size": 8, "max_completion_length": 256}
    recipe = recipe_of(tmp_path, [{"prompt": "p" * 5000, "answer": "4"}], method="grpo", training=training)
    known, unknown = planned(recipe, measured=True), planned(recipe, measured=False)
    assert any("prompts of at most 2048 tokens" in note for note in known.fit.notes)
    assert any("prompts of at most 512 tokens" in note for note in unknown.fit.notes)
