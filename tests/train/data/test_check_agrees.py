"""What a check and a launch say of local rows is what the training makes of them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from runner.control.launching.rows import read_all_rows
from runner.errors import UserError
from runner.recipe.loading.load import load_recipe
from runner.recipe.recipe import EDITION, Data, DataSource, Recipe
from runner.train.data.mixture import load_data

USER, GOOD = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
FINE = {"messages": [USER, GOOD]}
CALL = {"type": "function", "function": {"name": "get", "arguments": "Oslo"}}
ROWS: dict[str, list[dict[str, Any]]] = {
    "no content": [{"messages": [USER, {"role": "assistant", "content": None}]}, FINE],
    "a mark": [{"messages": [USER, {**GOOD, "weight": 0}, USER, GOOD]}, FINE],
    "all marked": [{"messages": [USER, {**GOOD, "train": False}]}],
    "an odd mark": [{"messages": [USER, {**GOOD, "weight": 0.5}]}, FINE],
    "system and history": [{"instruction": "i", "output": "o", "system": "s", "history": [["a", "b"]]}],
    "empty history": [{"instruction": "i", "output": "o", "system": None, "history": []}],
    "a bad label": [{"prompt": "a", "completion": "b", "label": False}],
    "texts and messages": [{"prompt": "a", "completion": "b"}, {"prompt": [USER], "completion": [GOOD]}],
    "a number": [{"prompt": 1, "completion": "b"}, {"prompt": "a", "completion": "b"}],
    "images": [{**FINE, "images": []}, {**FINE, "images": ["x.png"]}],
    "arguments that are no JSON": [{"messages": [USER, {**GOOD, "tool_calls": [CALL]}]}, FINE],
    "odd roles": [{"messages": [USER, {**GOOD, "role": "AI "}]}, {"messages": [{**GOOD, "role": "assitant"}]}],
    "a late column": [FINE, {"messages": [USER], "id": 3}],
    "an empty text": [{"text": ""}, {"text": "x"}],
    "no format": [{"a": 1}],
    "alpaca": [{"instruction": "i", "input": "x", "output": "o"}],
    "names that tell": [{"question": "q", "context": None, "answer": "a", "id": 1}, {"question": "q", "answer": ""}],
    "tools that are none": [{**FINE, "tools": 5}, FINE],
}


@pytest.mark.parametrize("name", ROWS)
def test_a_launch_says_what_the_training_will(tmp_path: Path, name: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS[name]))
    (tmp_path / "r.yaml").write_text(
        "method: sft\nmodel: {model_name_or_path: builtin:tiny-llama}\ndata: {train: [{path: rows.jsonl}]}\n"
    )
    recipe = Recipe(name="t", method="sft", model={}, data=Data(train=(DataSource(path=str(path)),), edition=EDITION))
    refusal = None
    try:
        notes = list(load_data(recipe, inputs=Path).notes)
    except UserError as error:
        refusal = error.what.rpartition(": ")[2]
    if refusal is not None:
        with pytest.raises(UserError, match=re.escape(refusal)):
            load_recipe("./r.yaml", cwd=tmp_path)
        return
    said: list[str] = []
    loaded = load_recipe("./r.yaml", cwd=tmp_path)
    read_all_rows(loaded, say=said.append)
    assert list(loaded.notes) == said == notes
