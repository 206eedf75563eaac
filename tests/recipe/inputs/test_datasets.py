"""The first rows of local data are converted as the training will, when a recipe is checked."""

import json
from pathlib import Path
from typing import Any

import pytest

from runner.errors import UserError
from runner.recipe.formats.entries import recognize_entry
from runner.recipe.formats.layouts import RowLayout
from runner.recipe.inputs.datasets import local_files
from runner.recipe.recipe import DataSource
from support.recipes import Check, Refuse, settings_of

TURNS = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
SHARED = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]


def recognize(row: dict[str, Any], method: Any = "sft", text_field: str = "text", **settings: Any) -> tuple[str, bool]:
    source = DataSource(path="x", **settings)
    entry = recognize_entry(source, "data.train.0", columns=list(row), rows=[row], text_field=text_field, method=method)
    return entry.format, entry.layout.is_conversational


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
        ({"instruction": "a", "input": "", "output": "b", "text": "c"}, "alpaca", True),
        ({"instruction": "a", "output": None}, "alpaca", True),
        ({"text": "a", "id": 5}, "text", False),
        ({"body": "a"}, "text", False),
    ],
)
def test_a_format_is_recognized_from_the_columns(row: dict[str, Any], row_format: str, conversational: bool) -> None:
    """The richer format first; `dataset_text_field` names the column of plain text."""
    assert recognize(row, text_field="body") == (row_format, conversational)


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
    assert recognize(row, method) == (row_format, conversational)


@pytest.mark.parametrize(
    ("row", "settings", "what", "remedy"),
    [
        ({"a": 1, "b": 2}, {}, "the columns fit no format: a, b", "messages: messages; prompt_completion"),
        ({}, {}, "the columns fit no format: none", "rename"),
        ({"text": "a"}, {"format": "alpaca"}, "needs `instruction` and `output`; the columns", "`format: text`"),
        ({"a": "b"}, {"format": "text"}, "needs `text`; the columns are: a", "rename the columns"),
    ],
)
def test_columns_that_fit_no_format(row: dict[str, Any], settings: dict[str, Any], what: str, remedy: str) -> None:
    """The message lists the columns that are there."""
    with pytest.raises(UserError) as caught:
        recognize(row, **settings)
    assert what in caught.value.what
    assert remedy in (caught.value.remedy or "")


def data(folder: Path, *rows: dict[str, Any], **settings: Any) -> str:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"data={json.dumps({'train': [{'path': 'rows.jsonl', **settings}]})}"


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"messages": "hello"}, "can be used as messages: 1 with messages or tools that are neither a list nor JSON"),
        ({"messages": []}, "1 without messages; the first: line 1"),
        ({"conversations": [{"speaker": "x"}]}, "1 with a message that has no role"),
        ({"text": [5]}, "1 whose text is not text"),
        ({"prompt": {"x": 1}, "completion": "b"}, "prompt_completion: 1 whose prompt is not text"),
        ({"messages": [{"role": "assitant", "content": "x"}]}, "unknown role, 'assitant' (did you mean 'assistant'?)"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}, TURNS[1]]}, "other than text (images"),
        ({"messages": [TURNS[0], {"role": "assistant", "content": None}]}, "1 with a message without content"),
        ({"messages": TURNS, "images": ["a.png"]}, "1 with images, which are not read"),
        ({"messages": TURNS, "system": ["x"]}, "1 whose system is not text"),
    ],
)
def test_rows_of_which_none_can_be_used_are_refused_by_check(
    refuse: Refuse, tmp_path: Path, row: dict[str, Any], what: str
) -> None:
    error = refuse(data(tmp_path, row))
    assert settings_of(error) == ["data.train.0.path"]
    assert what in error.what


def test_rows_that_will_be_dropped_and_columns_that_are_not_read_are_said(check: Check, tmp_path: Path) -> None:
    rows = [{"messages": TURNS, "id": 1}, {"messages": TURNS[:1], "source": "x"}]
    assert check(data(tmp_path, *rows)).notes == (
        "data.train.0: dropped 1 of 2 rows (1 without an assistant's turn; the first: line 2).",
        "data.train.0: of these columns nothing is made: id, source.",
    )


def test_a_column_that_a_template_or_filter_uses_is_read(check: Check, tmp_path: Path) -> None:
    row = {"question": "a", "answer": "b", "lang": "en", "id": 1}
    template = {"prompt": "{question}", "completion": "{answer}"}
    assert check(data(tmp_path, row, template=template, filter={"lang": "en"})).notes == (
        "data.train.0: of these columns nothing is made: id.",
    )


@pytest.mark.parametrize(
    ("row", "what", "remedy"),
    [
        ({"prompt": "a", "completion": "b", "label": False}, "`label: false` marks an answer as a bad one", "true"),
        ({"messages": TURNS, "kto_tag": False}, "`kto_tag: false` marks", "`filter: {kto_tag: true}`"),
        ({"prompt": "a", "completion": "b", "system": "Be kind."}, "`system` is not read beside", "template: {prompt"),
        ({"messages": TURNS, "history": [["a", "b"]]}, "`history` is not read beside turns", "into the messages"),
    ],
)
def test_a_column_that_would_change_what_is_learned_is_refused(
    refuse: Refuse, check: Check, tmp_path: Path, row: dict[str, Any], what: str, remedy: str
) -> None:
    """The row is named as the file has it; without a value, the column is no matter."""
    [column] = {"label", "kto_tag", "system", "history"} & set(row)
    of_turns = column in ("system", "history")
    good = {**row, column: "" if of_turns else True}
    error = refuse(data(tmp_path, good, row))
    assert settings_of(error) == ["data.train.0.path"]
    assert f"rows.jsonl, line 2: {'the column ' if of_turns else ''}{what}" in error.what
    assert remedy in (error.remedy or "")
    check(data(tmp_path, good))
    if not of_turns:
        check(data(tmp_path, good, row, filter={column: True}))


def test_labels_of_a_classification_are_no_verdicts(check: Check, tmp_path: Path) -> None:
    check(data(tmp_path, {"text": "a", "label": 0}))


def test_row_arguments_of_a_template_are_refused_where_trl_does_not_read_them(refuse: Refuse, tmp_path: Path) -> None:
    row = {"prompt": TURNS[:1], "chat_template_kwargs": {"enable_thinking": False}}
    error = refuse(data(tmp_path, row), "method=grpo", "training.reward_funcs=['builtin:length']")
    assert "GRPO does not read the column `chat_template_kwargs`" in error.what


def test_a_mixture_that_cannot_be_mixed_is_found_by_check(refuse: Refuse, check: Check, tmp_path: Path) -> None:
    (tmp_path / "text.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "chat.jsonl").write_text(json.dumps({"messages": TURNS}) + "\n")
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    error = refuse("data={train: [{path: text.jsonl}, {path: chat.jsonl}]}")
    assert settings_of(error) == ["data"]
    assert "data.train.0 holds plain text and data.train.1 conversations: they cannot be mixed" in error.what
    error = refuse("data={train: [{path: text.jsonl}, {path: user/chat, format: sharegpt}]}")
    assert "data.train.1 conversations: they cannot be mixed" in error.what
    loaded = check("data={train: [{path: user/chat, format: sharegpt}, {path: pairs.jsonl}]}")
    assert "data.train.1: taken as conversations" in loaded.notes[0]
    error = refuse("data={train: [{path: chat.jsonl}, {path: pairs.jsonl}]}", "training.completion_only_loss=true")
    assert settings_of(error) == ["training.completion_only_loss"]


def test_a_broken_row_among_the_first_is_named(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n{"text": \n')
    error = refuse("data={train: [{path: rows.jsonl}]}")
    assert "rows.jsonl: line 2 is not JSON" in error.what


def test_checking_reads_the_first_rows_only(check: Check, tmp_path: Path) -> None:
    """A recipe is checked as quickly with a large file; `launch` reads all of it."""
    path = tmp_path / "rows.jsonl"
    with path.open("wb") as file:
        file.write(b'{"text": "x"}\n' * 100_000)
        file.truncate(4 << 30)
    assert len(check("data={train: [{path: rows.jsonl}]}").sources[0][0].rows) < 1000


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.jsonl", "", "the file is empty"),
        ("a.jsonl", "\n \n", "holds no rows"),
        ("a.json", "[]", "holds no rows"),
        ("a.txt", "\n\n", "holds no rows"),
        ("a.parquet", "PAR1", "not a complete Parquet file"),
        ("a.parquet", "PAR1" + "\0" * 50, "not a complete Parquet file"),
    ],
)
def test_a_file_without_rows_is_refused(refuse: Refuse, tmp_path: Path, name: str, content: str, what: str) -> None:
    (tmp_path / name).write_text(content)
    error = refuse(f"data={{train: [{{path: {name}}}]}}")
    assert settings_of(error) == ["data.train.0.path"]
    assert what in error.what


def test_a_folder_without_the_split_is_refused_by_check(refuse: Refuse, check: Check, tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "test.jsonl").write_text('{"text": "a"}\n')
    error = refuse("data={train: [{path: f}]}")
    assert settings_of(error) == ["data.train.0.split"]
    assert "no split `train`" in error.what
    assert "`split: test`" in (error.remedy or "")
    check("data={train: [{path: f, split: test}]}")
    assert local_files(DataSource(path=str(folder), split="test[:10%]")) == [folder / "test.jsonl"]


def test_parquet_is_converted_where_pyarrow_is(check: Check, tmp_path: Path) -> None:
    """Its structs have nulls for the keys of other rows, which are no text of the row."""
    import pyarrow
    import pyarrow.parquet

    rows = [{"messages": TURNS}, {"messages": [{"role": "user", "content": "x", "name": "Ann"}]}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    [note] = check("data={train: [{path: rows.parquet}]}").notes
    assert note == "data.train.0: dropped 1 of 2 rows (1 without an assistant's turn; the first: row 2)."


def test_the_layout_is_that_of_the_first_row(tmp_path: Path) -> None:
    entry = recognize_entry(
        DataSource(path="x"),
        "data.train.0",
        columns=["prompt", "completion"],
        rows=[{"prompt": None, "completion": "b"}, {"prompt": "a", "completion": "b"}],
        text_field="text",
        method="sft",
    )
    assert entry.layout is RowLayout.PAIR


def test_the_format_is_that_of_the_rows_which_the_filter_keeps(check: Check, tmp_path: Path) -> None:
    """As in training, which filters before it looks."""
    rows = [
        {"prompt": TURNS[:1], "completion": TURNS[1:], "kind": "chat"},
        {"prompt": "a", "completion": "b", "kind": "text"},
    ]
    loaded = check(data(tmp_path, *rows, filter={"kind": "text"}))
    assert loaded.sources[0][0].conversational is False
    assert loaded.notes == ()


def test_blank_lines_of_a_text_file_are_counted(check: Check, tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("first\n\nsecond\n")
    assert check("data={train: [{path: rows.txt}]}").notes == (
        "data.train.0: dropped 1 of 3 rows (1 with empty text; the first: line 2).",
    )


@pytest.mark.parametrize("path", ["gone", "gone.jsonl", "./gone", "round"])
def test_a_link_that_leads_nowhere_is_no_hub_id(refuse: Refuse, tmp_path: Path, path: str) -> None:
    (tmp_path / path).symlink_to(path if path == "round" else "nowhere")
    for setting in ("data.train.0.path", "model.model_name_or_path"):
        error = refuse(f"{setting}={path}")
        assert f"`{path}` is a link to `" in str(error)
        assert settings_of(error)[-1] == setting


def test_a_pattern_is_no_path(refuse: Refuse) -> None:
    assert "a path is no pattern" in str(refuse("data.train.0.path='parts/*.jsonl'"))


def test_data_of_another_kind_in_a_folder_are_said(check: Check, tmp_path: Path) -> None:
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "a.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (tmp_path / "mixed" / "b.csv").write_text("prompt,completion\na,b\n")
    loaded = check("data.train.0.path=mixed")
    assert "data.train.0: of this folder only .jsonl is read, not b.csv." in loaded.notes
