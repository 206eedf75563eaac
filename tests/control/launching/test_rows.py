"""A launch reads every row of local data before anything is started."""

import json
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.control.launch import LaunchOptions, launch
from runner.control.launching.rows import read_all_rows
from runner.errors import UserError
from runner.recipe.loading.load import load_recipe
from runner.storage.open import open_store

TURNS = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
RECIPE = """\
method: sft
model: {model_name_or_path: builtin:tiny-llama}
data: {train: [{path: rows.jsonl}]}
training: {max_steps: 2}
"""


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[str]]:
    """Read all rows of a file that the lines make; return what is said."""

    def said(*lines: str, recipe: str = RECIPE) -> list[str]:
        (tmp_path / "recipe.yaml").write_text(recipe)
        (tmp_path / "rows.jsonl").write_text("".join(line + "\n" for line in lines))
        sentences: list[str] = []
        read_all_rows(load_recipe("./recipe.yaml", cwd=tmp_path), say=sentences.append)
        return sentences

    return said


GOOD = json.dumps({"messages": TURNS})


def test_a_broken_row_beyond_the_first_is_named_by_the_users_own_path(
    tmp_path: Path, read: Callable[..., None]
) -> None:
    """Counted from 1, in the recipe's line; a check reads a hundred rows and finds nothing."""
    lines = [GOOD] * 100 + ['{"messages": '] + [GOOD] * 100
    with pytest.raises(UserError) as caught:
        read(*lines)
    assert f"{tmp_path}/rows.jsonl: line 101 is not JSON" in caught.value.what
    assert caught.value.where == f"{tmp_path}/recipe.yaml:3" or str(caught.value.where).endswith("recipe.yaml:3")


def test_rows_beyond_the_first_that_will_be_dropped_are_said(read: Callable[..., list[str]]) -> None:
    bad = json.dumps({"messages": TURNS[:1]})
    assert read(*[GOOD] * 150, bad, bad) == [
        "data.train.0: dropped 2 of 152 rows (2 without an assistant's turn; the first: line 151)."
    ]


def test_a_mark_beyond_the_first_rows_is_seen(read: Callable[..., list[str]]) -> None:
    marked = json.dumps({"messages": [TURNS[0], {**TURNS[1], "weight": 0}, *TURNS]})
    [sentence] = read(*[GOOD] * 150, marked)
    assert "data.train.0: turns with `weight: 0` or `train: false` are kept out of the loss" in sentence


def test_a_row_beyond_the_first_whose_meaning_is_not_read_ends_the_launch(read: Callable[..., list[str]]) -> None:
    rows = [json.dumps({"prompt": "a", "completion": "b", "label": n < 150}) for n in range(151)]
    with pytest.raises(UserError, match=r"rows\.jsonl, line 151: `label: false` marks an answer as a bad one"):
        read(*rows)


def test_the_rows_of_each_stage_are_read(read: Callable[..., list[str]]) -> None:
    recipe = """\
model: {model_name_or_path: builtin:tiny-llama}
training: {max_steps: 2}
stages:
  - {method: cpt, data: {train: [{path: builtin:python-docstrings, template: {text: "{prompt}{completion}"}}]}}
  - {method: sft, data: {train: [{path: rows.jsonl}]}}
"""
    assert read(*[GOOD] * 3, recipe=recipe) == []
    bad = json.dumps({"messages": TURNS[:1]})
    assert "stages.sft.data.train.0: dropped 1 of 151 rows" in read(*[GOOD] * 150, bad, recipe=recipe)[-1]
    with pytest.raises(UserError, match=r"line 151 is not JSON"):
        read(*[GOOD] * 150, "{", recipe=recipe)


def test_nothing_is_written_by_a_launch_that_finds_a_broken_row(tmp_path: Path, read: Callable[..., list[str]]) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "rows.jsonl").write_text("".join(f"{GOOD}\n" for _ in range(150)) + "{\n")
    store = open_store(str(tmp_path / "store"))
    options = LaunchOptions(recipe="./recipe.yaml", cwd=tmp_path)
    with pytest.raises(UserError, match="line 151"):
        launch(store, options, confirm=lambda *_: True, say=lambda _: None)
    assert not list(store.objects(""))


def test_data_that_only_the_machine_can_read_are_said(tmp_path: Path, read: Callable[..., list[str]]) -> None:
    """What `datasets` saved, for one."""
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved/state.json").write_text("{}")
    [sentence] = read(recipe=RECIPE.replace("rows.jsonl", "saved") + "name: x\n")
    assert sentence == f"data.train.0: rows of {tmp_path}/saved are first read by the machine that trains"


def test_memory_does_not_grow_with_the_file(tmp_path: Path, read: Callable[..., list[str]]) -> None:
    """Forty megabytes are read in less than half of that."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = json.dumps({"messages": [{**turn, "content": "x" * 500} for turn in TURNS]})
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    with (tmp_path / "rows.jsonl").open("w") as file:
        for _ in range(40):
            file.write(f"{line}\n" * 1000)
    read_all_rows(load_recipe("./recipe.yaml", cwd=tmp_path), say=lambda _: None)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 << 10
