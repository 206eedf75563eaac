"""The first row of each kind of file, and the format it is in."""

import json
from pathlib import Path
from typing import Any

import pytest

from runner.errors import UserError
from runner.recipe.inputs.row_formats import check_row, first_row

TURNS = [{"role": "user", "content": "a"}]
SHARED = [{"from": "human", "value": "a"}]


def row_of(tmp_path: Path, name: str, content: str | bytes) -> dict[str, Any] | None:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return first_row(path, name)


@pytest.mark.parametrize(
    ("name", "content", "row"),
    [
        ("a.jsonl", '{"text": "x"}\n{"broken', {"text": "x"}),
        ("a.jsonl", '\ufeff\n\n{"text": "x"}', {"text": "x"}),
        ("a.json", '[{"text": "x"}, {"broken', {"text": "x"}),
        ("a.json", '  [\n  {\n    "text": "x"\n  }\n]', {"text": "x"}),
        ("a.json", '{"text": "x"}\n{"text": "y"}\n', {"text": "x"}),
        ("a.JSONL", '{"text": "x"}', {"text": "x"}),
        ("a.csv", 'prompt,completion\n"a\nb",c\n', {"prompt": "a\nb", "completion": "c"}),
        ("a.csv", "\n\na,b\n1\n", {"a": "1", "b": None}),
        ("a.txt", "\n\n  some text\nmore\n", {"text": "  some text"}),
        ("a.parquet", b"PAR1" + b"\0" * 20 + b"PAR1", None),
    ],
)
def test_the_first_row(tmp_path: Path, name: str, content: str | bytes, row: dict[str, Any] | None) -> None:
    """Nothing behind it is read."""
    assert row_of(tmp_path, name, content) == row


def test_a_long_first_row_is_read_whole(tmp_path: Path) -> None:
    """A row may be longer than what is read at a time."""
    text = "ä" * 300_000
    assert row_of(tmp_path, "a.jsonl", json.dumps({"text": text}) + "\n{}") == {"text": text}
    assert row_of(tmp_path, "a.json", json.dumps([{"text": text}], indent=2)) == {"text": text}
    assert row_of(tmp_path, "a.csv", f"text\n{text}\n") == {"text": text}


def test_a_large_file_costs_no_more_than_a_small_one(tmp_path: Path) -> None:
    """Checking a recipe does not read its data."""
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.write(b'{"text": "x"}\n')
        file.truncate(8 << 30)
    assert first_row(path, "a.jsonl") == {"text": "x"}


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.jsonl", "", "the file is empty"),
        ("a.jsonl", "\n \n", "holds no rows"),
        ("a.jsonl", '{"text": \n{"text": "x"}\n', "is not JSON"),
        ("a.jsonl", '"text"\n', "1 is not an object"),
        ("a.jsonl", "[" * 100_000, "row 1 is not an object"),
        ("a.json", "[]", "holds no rows"),
        ("a.json", " [ \n ] ", "holds no rows"),
        ("a.json", "[1]", "1 is not an object"),
        ("a.json", '[{"text": "x"', "is not JSON"),
        ("a.csv", "prompt,completion\n", "holds no rows"),
        ("a.csv", "\n\n", "holds no rows"),
        ("a.csv", "a,b\n1,2,3\n", "line 2 has 3 cells, and the header 2"),
        ("a.txt", "\n\n", "holds no rows"),
        ("a.txt", b"caf\xe9", "not UTF-8 text"),
        ("a.parquet", b"PAR1", "not a complete Parquet file"),
        ("a.parquet", b"PAR1" + b"\0" * 50, "not a complete Parquet file"),
    ],
)
def test_a_file_without_a_first_row(tmp_path: Path, name: str, content: str | bytes, what: str) -> None:
    """Empty, torn, or of another kind: said before anything is begun."""
    with pytest.raises(UserError) as caught:
        row_of(tmp_path, name, content)
    assert what in caught.value.what
    assert caught.value.where == name


@pytest.mark.parametrize(
    ("row", "row_format", "conversational"),
    [
        ({"messages": TURNS}, "messages", True),
        ({"messages": SHARED}, "sharegpt", True),
        ({"conversations": SHARED}, "sharegpt", True),
        ({"conversations": TURNS}, "messages", True),
        ({"messages": json.dumps(TURNS)}, "messages", True),
        ({"prompt": "a", "completion": "b"}, "prompt_completion", False),
        ({"prompt": TURNS, "completion": TURNS}, "prompt_completion", True),
        ({"instruction": "a", "input": "", "output": "b", "text": "c"}, "alpaca", False),
        ({"instruction": "a", "output": None}, "alpaca", False),
        ({"text": "a", "id": 5}, "text", False),
        ({"body": "a"}, "text", False),
    ],
)
def test_a_format_is_recognized_from_the_columns(row: dict[str, Any], row_format: str, conversational: bool) -> None:
    """The richer format first; `dataset_text_field` names the column of plain text."""
    assert check_row(row, None, "body", "x") == (row_format, conversational)


@pytest.mark.parametrize(
    ("method", "row", "row_format", "conversational"),
    [
        ("dpo", {"prompt": "a", "chosen": "b", "rejected": "c"}, "preference", False),
        ("dpo", {"chosen": TURNS, "rejected": TURNS, "messages": TURNS}, "preference", True),
        ("grpo", {"prompt": "a", "completion": "b"}, "prompt_only", False),
        ("grpo", {"prompt": TURNS}, "prompt_only", True),
        ("cpt", {"text": "a", "messages": TURNS}, "text", False),
    ],
)
def test_each_method_recognizes_its_own_formats(
    method: Any, row: dict[str, Any], row_format: str, conversational: bool
) -> None:
    """What other columns a dataset has is no matter."""
    assert check_row(row, None, "text", "x", method) == (row_format, conversational)


def test_preferences_in_strings_need_a_prompt() -> None:
    with pytest.raises(UserError, match=r"needs `prompt`; the columns are: question, chosen, rejected"):
        check_row({"question": "a", "chosen": "b", "rejected": "c"}, None, "text", "x", "dpo")


@pytest.mark.parametrize(
    ("row", "declared", "what", "remedy"),
    [
        ({"a": 1, "b": 2}, None, "the columns fit no format: a, b", "messages: messages; prompt_completion"),
        ({}, None, "the columns fit no format: none", "rename"),
        ({"text": "a"}, "alpaca", "needs `instruction` and `output`; the columns are: text", "`format: text`"),
        ({"a": "b"}, "text", "needs `text`; the columns are: a", "rename the columns"),
        ({"messages": "hello"}, None, "not a list of turns", "`role` and `content`"),
        ({"messages": []}, None, "not a list of turns", "`role` and `content`"),
        ({"conversations": [{"speaker": "x"}]}, None, "not a list of turns", "`from` and `value`"),
        ({"text": 5}, None, "`text` in the first row is not text: 5", ""),
        ({"prompt": {"x": 1}, "completion": "b"}, None, "`prompt` in the first row is not text", ""),
    ],
)
def test_a_row_that_fits_no_format(row: dict[str, Any], declared: Any, what: str, remedy: str) -> None:
    """The message lists the columns that are there."""
    with pytest.raises(UserError) as caught:
        check_row(row, declared, "text", "x")
    assert what in caught.value.what
    assert remedy in (caught.value.remedy or "")
