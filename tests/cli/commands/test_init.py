"""`runner init` looks at the data, and writes a recipe that passes the check and says what was proposed."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.bench import CLI, Bench

TURNS = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


def write_rows(path: Path, row: dict[str, Any], count: int = 30) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for _ in range(count)))


def drafted(bench: Bench, row: dict[str, Any], *options: str, count: int = 30) -> dict[str, Any]:
    """The recipe that is written for rows like this, which `runner check` has accepted."""
    write_rows(bench.folder / "rows.jsonl", row, count)
    done = bench.runner("init", "new.yaml", "--model", "builtin:tiny-llama", "--data", "rows.jsonl", *options)
    assert (done.returncode, done.stdout) == (0, "new.yaml\n"), done.stderr
    checked = bench.runner("check", "new.yaml")
    assert checked.returncode == 0, checked.stderr
    recipe: dict[str, Any] = yaml.safe_load((bench.folder / "new.yaml").read_text())
    (bench.folder / "new.yaml").unlink()
    return recipe


@pytest.mark.parametrize(
    ("row", "method", "format_"),
    [
        ({"messages": TURNS}, "sft", "messages"),
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, "sft", "sharegpt"),
        ({"prompt": "a", "completion": "b"}, "sft", "prompt_completion"),
        ({"instruction": "a", "input": "", "output": "b"}, "sft", "alpaca"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "dpo", "preference"),
        ({"text": "a long text"}, "cpt", "text"),
    ],
)
def test_columns_of_a_known_format_are_named_as_it(bench: Bench, row: Any, method: str, format_: str) -> None:
    recipe = drafted(bench, row)
    assert recipe["method"] == method
    assert recipe["data"]["train"] == [{"path": "rows.jsonl", "format": format_}]


@pytest.mark.parametrize(
    ("row", "options", "method", "columns"),
    [
        ({"question": "a", "answer": "b"}, (), "sft", {"messages"}),
        ({"Query": "a", "Response": "b", "context": "c"}, (), "sft", {"messages"}),
        ({"query": "a", "preferred": "b", "dispreferred": "c"}, (), "dpo", {"prompt", "chosen", "rejected"}),
        ({"title": "a", "body": "b"}, (), "cpt", {"text"}),
        ({"question": "a", "answer": "4"}, ("--method", "grpo"), "grpo", {"prompt"}),
    ],
)
def test_other_columns_get_a_template(bench: Bench, row: Any, options: Any, method: str, columns: set[str]) -> None:
    recipe = drafted(bench, row, *options)
    [entry] = recipe["data"]["train"]
    assert recipe["method"] == method
    assert set(entry["template"]) == columns
    for column in row:
        if (method, column) != ("grpo", "answer"):  # which the reward reads
            assert f"{{{column}}}" in json.dumps(entry["template"])


def test_a_share_or_a_split_is_held_out_and_few_rows_are_not(bench: Bench) -> None:
    assert drafted(bench, {"text": "a"}, count=40)["data"]["eval"] == {"from_train": 0.1}
    assert "eval" not in drafted(bench, {"text": "a"}, count=5)["data"]
    for split in ("train", "validation"):
        write_rows(bench.folder / f"both/{split}.jsonl", {"prompt": "a", "completion": "b"})
    done = bench.runner("init", "sub/x.yaml", "--model", "builtin:tiny-llama", "--data", "both")
    assert done.returncode == 0, done.stderr
    assert "evaluated on the split validation" in done.stderr
    recipe = yaml.safe_load((bench.folder / "sub/x.yaml").read_text())
    assert recipe["data"]["train"][0]["path"] == "../both"  # as seen from the recipe's folder
    assert recipe["data"]["eval"] == [{"path": "../both", "format": "prompt_completion", "split": "validation"}]
    assert bench.runner("check", "sub/x.yaml").returncode == 0


def test_data_that_a_method_cannot_take_are_refused_with_what_would_do(bench: Bench) -> None:
    write_rows(bench.folder / "rows.jsonl", {"question": "a", "answer": "b"})
    command = ("init", "--model", "builtin:tiny-llama", "--data")
    done = bench.runner(*command, "rows.jsonl", "--method", "dpo")
    assert done.returncode == 2
    assert "has the columns question, answer" in done.stderr
    assert "they look made for --method sft" in done.stderr
    assert "preference: chosen, rejected" in done.stderr
    assert "there is no file or folder" in bench.runner(*command, "./nothing.jsonl").stderr
    assert list(bench.folder.glob("*.yaml")) == []


def test_a_file_that_is_there_stays(bench: Bench) -> None:
    write_rows(bench.folder / "rows.jsonl", {"text": "a"})
    (bench.folder / "new.yaml").write_text("mine")
    done = bench.runner("init", "new.yaml", "--model", "builtin:tiny-llama", "--data", "rows.jsonl")
    assert (done.returncode, "there is such a file already" in done.stderr) == (2, True)
    assert (bench.folder / "new.yaml").read_text() == "mine"
    printed = bench.runner("init", "--model", "builtin:tiny-llama", "--data", "rows.jsonl", "--print")
    assert yaml.safe_load(printed.stdout)["name"] == "tiny-llama-rows"


def test_it_asks_three_questions_on_a_terminal_and_none_elsewhere(bench: Bench) -> None:
    write_rows(bench.folder / "rows.jsonl", {"question": "a", "answer": "b"})
    done = bench.runner("init", "--data", "rows.jsonl", stdin=subprocess.DEVNULL)
    assert (done.returncode, "--model" in done.stderr) == (2, True)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", CLI, "init", "asked.yaml"]
    asked = subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             env=bench.environment, cwd=bench.folder)  # fmt: skip
    os.write(ours, b"builtin:tiny-llama\nrows.jsonl\n\n")
    _, errors = asked.communicate(timeout=120)
    assert asked.returncode == 0, errors
    assert [word in errors for word in ("Which model", "Which data", "Which method")] == [True] * 3
    assert yaml.safe_load((bench.folder / "asked.yaml").read_text())["method"] == "sft"
