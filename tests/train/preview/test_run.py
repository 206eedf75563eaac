"""`runner preview` shows rows as the training takes them, and needs no weights."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runner.recipe.recipe import Data, DataSource, Recipe
from runner.train.builtin.catalog import materialize
from runner.train.preview.rows import preview

RUNNER = [sys.executable, "-c", "from runner.cli.main import main; main()"]
TALK = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "hello"},
    {"role": "user", "content": "bye"},
    {"role": "assistant", "content": "see you"},
]
DPO = {"prompt": [TALK[0]], "chosen": [TALK[1]], "rejected": [TALK[3]]}


def previewed(folder: Path, rows: list[dict[str, Any]], method: Any = "sft", count: int = 1, **training: Any) -> Any:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = {"model_name_or_path": str(materialize("builtin:tiny-llama", folder / "cache"))}
    for weights in Path(model["model_name_or_path"]).glob("*.safetensors"):
        weights.unlink()
    data = Data(train=(DataSource(path=str(folder / "rows.jsonl")),))
    recipe = Recipe(name="t", method=method, model=model, data=data, training=training)
    return preview(recipe, count=count, measured=100, cache_dir=folder / "cache")


def seen(row: Any) -> list[str]:
    return [text for text, learned in row.parts if learned]


@pytest.mark.parametrize(
    ("row", "training", "learned"),
    [
        ({"messages": TALK}, {"train_on_turns": "all"}, ["hello<|im_end|>", "see you<|im_end|>"]),
        ({"messages": TALK}, {"train_on_turns": "last"}, ["see you<|im_end|>"]),
        ({"prompt": TALK[:1], "completion": TALK[1:2]}, {}, ["hello<|im_end|>"]),
        ({"prompt": "1 + 1 =", "completion": " 2"}, {}, [" 2</s>"]),
    ],
)
def test_what_the_loss_sees_is_told_apart(
    tmp_path: Path, row: dict[str, Any], training: dict[str, Any], learned: list[str]
) -> None:
    made = previewed(tmp_path, [row], **training)
    [shown] = made.rows
    assert [text.strip("\n") for text in seen(shown)] == [text.strip("\n") for text in learned]
    assert shown.place == "data.train.0, line 1"
    assert (made.cut, made.empty, made.of) == (0, 0, 1)


def test_both_answers_of_a_preference_are_shown(tmp_path: Path) -> None:
    chosen, rejected = previewed(tmp_path, [DPO], "dpo").rows
    assert "hello" in seen(chosen)[0]
    assert "see you" in seen(rejected)[0]
    assert rejected.place == "data.train.0, line 1, rejected"


def test_what_is_cut_and_what_is_dropped_is_counted(tmp_path: Path) -> None:
    rows = [{"prompt": "a " * 40, "completion": "b"}, {"prompt": "a", "completion": "b " * 40}]
    rows.append({"prompt": "a", "completion": "b"})
    made = previewed(tmp_path, rows, count=3, max_length=20)
    assert (made.cut, made.empty, len(made.lengths), made.max_length) == (2, 1, 3, 20)


def test_the_command_prints_rows_lengths_and_notes(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"question": "hi", "answer": "hello"}) + "\n")
    (tmp_path / "r.yaml").write_text(
        "method: sft\nmodel: {model_name_or_path: builtin:tiny-llama}\ndata: {train: [{path: rows.jsonl}]}\n"
    )
    command = [*RUNNER, "preview", "r.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "«hello<|im_end|>" in done.stdout
    assert "on average" in done.stdout
    assert "template: {prompt: [{role: user" in done.stdout
    done = subprocess.run([*command, "--stage", "x"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
