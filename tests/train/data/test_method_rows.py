"""Preferences, prompts and raw text become what the method's trainer takes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.errors import UserError
from runner.recipe.formats.layouts import RowLayout
from runner.recipe.recipe import Data, DataSource, Method, Recipe
from runner.train.data.mixture import TrainingData, load_data

USER = {"role": "user", "content": "Why?"}
GOOD, BAD = {"role": "assistant", "content": "Because."}, {"role": "assistant", "content": "No."}
ONE = DataSource(path="rows.jsonl")


@pytest.fixture
def load(tmp_path: Path) -> Any:
    """Load rows as a method does."""

    def loaded(method: Method, *rows: dict[str, Any], source: DataSource = ONE, **training: Any) -> TrainingData:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        data = Data(train=(replace(source, path=str(path)),))
        recipe = Recipe(name="t", method=method, model={}, data=data, training=training)
        return load_data(recipe, inputs=Path)

    return loaded


def test_preferences_in_strings(load: Any) -> None:
    data = load("dpo", {"prompt": "Why?", "chosen": " Because.", "rejected": " No.", "score": 5})
    assert data.layout is RowLayout.PREFERENCE
    assert data.train[:] == {"prompt": ["Why?"], "chosen": [" Because."], "rejected": [" No."]}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": "Why?", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
    ],
    ids=["prompt in messages", "prompt in both answers", "prompt in both answers and alone"],
)
def test_preferences_in_messages_however_the_prompt_is_given(load: Any, row: dict[str, Any]) -> None:
    data = load("dpo", row)
    assert data.layout is RowLayout.PREFERENCE_MESSAGES
    assert data.conversational
    assert data.train[0] == {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]}


def test_a_preference_that_teaches_nothing_is_dropped_and_counted(load: Any) -> None:
    good = {"prompt": "Why?", "chosen": "a", "rejected": "b"}
    data = load("dpo", good, {**good, "rejected": "a"}, {**good, "chosen": ""}, {**good, "prompt": None})
    assert len(data.train) == 1
    note = data.notes[0]
    assert "dropped 3 of 4 rows" in note
    assert "1 whose two answers are the same" in note


def test_a_template_makes_messages_of_fields(load: Any) -> None:
    template = {
        "prompt": [{"role": "system", "content": "{system}"}, {"role": "user", "content": "{question}"}],
        "chosen": [{"role": "assistant", "content": "{chosen}"}],
        "rejected": [{"role": "assistant", "content": "{rejected}"}],
    }
    rows = [{"system": system, "question": "Why?", "chosen": "Because.", "rejected": "No."} for system in ("", "Hi.")]
    data = load("dpo", *rows, source=replace(ONE, template=template))
    prompts = sorted(data.train["prompt"], key=len)
    assert prompts == [[USER], [{"role": "system", "content": "Hi."}, USER]]


def test_preferences_without_a_prompt_say_what_to_write(load: Any) -> None:
    with pytest.raises(UserError, match=r"needs `prompt`.*the columns are: title, chosen, rejected\n.*template: "):
        load("dpo", {"title": "Why?", "chosen": "Because.", "rejected": "No."})


def test_preferences_without_a_prompt_have_it_in_a_column_that_tells_or_begin_with_it(load: Any) -> None:
    data = load("dpo", {"question": "Why?", "chosen": "So.", "rejected": "So?"})
    assert data.train[0]["prompt"] == [{"role": "user", "content": "Why?"}]
    data = load("dpo", {"chosen": "Human: a Assistant: yes", "rejected": "Human: a Assistant: no"})
    assert data.train[0] == {"prompt": "Human: a Assistant:", "chosen": " yes", "rejected": " no"}
    assert "both begin with" in data.notes[0]


def test_prompts_keep_the_columns_that_rewards_are_given(load: Any) -> None:
    rows = [{"prompt": "1 + 1?", "answer": 2, "tags": ["sum"]}, {"prompt": "", "answer": 3, "tags": []}]
    data = load("grpo", *rows)
    assert data.layout is RowLayout.PROMPT
    assert data.train[:] == {"prompt": ["1 + 1?"], "answer": [2], "tags": [["sum"]]}
    data = load("grpo", *rows, source=replace(ONE, template={"prompt": [{"role": "user", "content": "{prompt} Hm."}]}))
    assert data.conversational
    assert {"prompt": [{"role": "user", "content": "1 + 1? Hm."}], "answer": 2, "tags": ["sum"]} in list(data.train)


def test_prompts_of_a_mixture_have_the_same_columns(tmp_path: Path) -> None:
    """A reward function would be given a column for some of its completions only."""
    for name, row in (("a", {"prompt": "x", "answer": "y"}), ("b", {"prompt": "x", "solution": "y"})):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    sources = tuple(DataSource(path=str(tmp_path / f"{name}.jsonl")) for name in "ab")
    recipe = Recipe(name="t", method="grpo", model={}, data=Data(train=sources))
    with pytest.raises(UserError, match="differ in their columns, which reward functions are given"):
        load_data(recipe, inputs=Path)


def test_raw_text_from_any_column(load: Any) -> None:
    rows = [{"code": "x = 1", "path": "a.py"}, {"code": "", "path": "b.py"}]
    data = load("cpt", *rows, dataset_text_field="code")
    assert data.train[:] == {"code": ["x = 1"]}
    data = load("cpt", rows[0], source=replace(ONE, template={"text": "# {path}\n{code}\n"}))
    assert data.train[:] == {"text": ["# a.py\nx = 1\n"]}
    assert load("cpt", *rows).train[:] == {"text": ["x = 1"]}, "the name tells"
    with pytest.raises(UserError, match=r"fit no format: page, path"):
        load("cpt", {"page": "x", "path": "a"})


def test_a_template_with_a_field_that_is_not_there_says_so(load: Any) -> None:
    with pytest.raises(UserError, match=r"data\.train\.0\.template: .* has no field `body`"):
        load("cpt", {"code": "x"}, source=replace(ONE, template={"text": "{body}"}))
