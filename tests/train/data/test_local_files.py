"""Local files become rows that are what the file says: no type is guessed, and a name is a name."""

import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from datasets import Dataset

from runner.errors import UserError
from runner.recipe.recipe import Data, DataSource, Recipe
from runner.train.data import parallel
from runner.train.data.json_cell import JsonCell
from runner.train.data.local_files import read_files
from runner.train.data.mixture import load_data
from runner.train.data.sampling import select_rows
from runner.train.data.sources import read_source


def write_lines(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path, notes: list[str] | None = None, **settings: Any) -> Dataset:
    source = DataSource(path=str(path), **settings)
    return read_source(source, where="data.train.0", inputs=Path, notes=[] if notes is None else notes)


def test_each_cell_of_json_is_what_json_loads_gives(tmp_path: Path) -> None:
    """Dates, digits, JSON in a text, types that change in a column, and keys that only one message has."""
    rows = [
        {"day": "2024-03-04", "zip": "02130", "answer": '{"city": "Oslo"}', "mixed": "4", "n": 0.1234567890123456789},
        {"day": "2024-03-05", "zip": "02131", "answer": "42", "mixed": 4, "n": 12345678901234567890123},
        {"day": None, "zip": "x", "answer": '"hi"', "mixed": [{"a": None}, {"b": "1"}], "n": True, "late": {"k": []}},
    ]
    dataset = read(write_lines(tmp_path / "a.jsonl", rows))
    assert list(dataset) == [{**row, "late": row.get("late")} for row in rows]
    assert [dataset[place] for place in range(3)] == list(dataset)
    assert dataset["mixed"][:] == ["4", 4, [{"a": None}, {"b": "1"}]]


def test_a_column_that_changes_its_type_late_keeps_every_cell(tmp_path: Path) -> None:
    rows = [{"text": "word " * 50, "note": None, "mixed": "1"} for _ in range(10_000)]
    rows += [{"text": "b", "note": "late", "mixed": 2}]
    dataset = read(write_lines(tmp_path / "a.jsonl", rows))
    assert len(dataset) == len(rows)
    assert (dataset[0], dataset[-1]) == (rows[0], rows[-1])
    assert isinstance(dataset.features["mixed"], JsonCell)
    assert dataset.features["note"].dtype == "string"


def test_a_large_file_is_read_in_parts_as_it_is_in_one_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"text": f"row {n} é", "n": n if n < 1500 else str(n)} for n in range(2000)]
    path = write_lines(tmp_path / "a.jsonl", rows)
    monkeypatch.setattr(parallel, "SMALLEST_PART", 1000)
    monkeypatch.setattr(parallel, "_processes", lambda: 3)
    parts = parallel.write_in_parts(path, tmp_path)
    assert parts is not None
    assert len({part.parent for part in parts}) == 3
    assert list(read_files([path], str)) == rows
    with path.open("a") as file:
        file.write("{broken\n")
    with pytest.raises(UserError, match=r"line 2001 is not JSON"):
        read(path)


def test_a_file_on_which_the_quick_parser_crashes_is_said_to_be_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyarrow's ends the process at a bare `null` behind an object."""
    monkeypatch.setattr(parallel, "SMALLEST_PART", 10)
    monkeypatch.setattr(parallel, "_processes", lambda: 1)
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"} null {"text": "c"}\n')
    with pytest.raises(UserError, match=r"line 2 is not JSON: Extra data"):
        read(path)


def test_every_cell_of_csv_is_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "zip,day,label,truth,empty\n02130,2024-03-04,None,True,\n02131,2024-03-05,NA,False,\n"
    )
    dataset = read(tmp_path / "a.csv")
    assert list(dataset) == [
        {"zip": "02130", "day": "2024-03-04", "label": "None", "truth": "True", "empty": ""},
        {"zip": "02131", "day": "2024-03-05", "label": "NA", "truth": "False", "empty": ""},
    ]


@pytest.mark.parametrize(
    "name", ["train[v2].jsonl", "a::b.jsonl", "*.jsonl", "a b ü?#.jsonl", "[x] y/d.jsonl", "{a,b}.json", "t[1].parquet"]
)
def test_a_name_is_a_name(tmp_path: Path, name: str) -> None:
    """Of a file, beside one that it would match as a pattern; and of the folder that it is in."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    write_lines(tmp_path / "trainv.jsonl", [{"text": "another"}])
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.table({"text": ["mine"]}), path)
    else:
        write_lines(path, [{"text": "mine"}])
    assert read(path)["text"][:] == ["mine"]
    folder = tmp_path / "[data] v2::x"
    folder.mkdir()
    path.rename(folder / path.name)
    assert read(folder)["text"][:] == ["mine"]


def test_splits_of_a_folder_and_slices_of_them(tmp_path: Path) -> None:
    write_lines(tmp_path / "train.jsonl", [{"text": str(n)} for n in range(10)])
    write_lines(tmp_path / "test.jsonl", [{"text": "x"}])
    assert read(tmp_path, split="train[:30%]")["text"][:] == ["0", "1", "2"]
    assert read(tmp_path, split="train[8:]+test")["text"][:] == ["8", "9", "x"]
    assert len(read(tmp_path, split="all")) == 11
    with pytest.raises(UserError, match=r"no split 'dev'\n.*train.*test"):
        read(tmp_path, split="dev")


def test_dates_and_decimals_of_typed_columns_are_text(tmp_path: Path) -> None:
    day, noon = datetime.date(2024, 3, 4), datetime.datetime(2024, 3, 4, 12)
    table = pyarrow.table(
        {
            "day": pyarrow.array([day], pyarrow.date32()),
            "midnight": pyarrow.array([datetime.datetime(2024, 3, 4)], pyarrow.timestamp("ns")),
            "time": pyarrow.array([noon], pyarrow.timestamp("us")),
            "price": pyarrow.array([decimal.Decimal("1.50")], pyarrow.decimal128(5, 2)),
            "n": [4],
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    notes: list[str] = []
    dataset = read(tmp_path / "a.parquet", notes)
    expected = {"day": "2024-03-04", "midnight": "2024-03-04", "time": "2024-03-04T12:00:00", "price": "1.50", "n": 4}
    assert dataset[0] == expected
    assert dataset.column_names == list(expected)
    assert notes == ["data.train.0: midnight holds timestamps that are all at midnight; they are taken as dates."]


@pytest.mark.parametrize(
    ("column", "value", "kept"),
    [
        ("zip", "02130", ["02130"]),
        ("zip", 2130, []),
        ("day", "2024-03-04", ["02130"]),
        ("n", 4, ["02130", "02131"]),
        ("n", "4.0", ["02131"]),
        ("truth", True, ["02130"]),
        ("label", ["None", "NA"], ["02130", "02131"]),
    ],
)
def test_a_filter_compares_with_what_is_written(tmp_path: Path, column: str, value: Any, kept: list[str]) -> None:
    path = tmp_path / "a.csv"
    path.write_text("zip,day,n,truth,label\n02130,2024-03-04,4,True,None\n02131,2024-03-05,4.0,False,NA\n")
    source = DataSource(path=str(path), filter={column: value})
    if not kept:
        with pytest.raises(UserError, match=r'zip is 2130\n.*"02130" \(1x\)'):
            select_rows(read(path), source, "data.train.0", 1, [])
    else:
        assert select_rows(read(path), source, "data.train.0", 1, [])["zip"][:] == kept


def test_numbers_and_texts_reach_trainers_as_they_are(tmp_path: Path) -> None:
    """Reward functions get each row's own type, and the arguments of a call all their digits."""
    texts = write_lines(tmp_path / "a.jsonl", [{"prompt": "a", "answer": "42", "extra": [1.50]}])
    numbers = write_lines(tmp_path / "b.jsonl", [{"prompt": "b", "answer": 3.141592653589793, "extra": "x"}])
    data = Data(train=(DataSource(path=str(texts)), DataSource(path=str(numbers))), eval=())
    recipe = Recipe(name="t", method="grpo", model={"model_name_or_path": "builtin:tiny-llama"}, data=data, training={})
    rows = {row["prompt"]: row for row in load_data(recipe, inputs=Path).train}
    assert rows["a"] == {"prompt": "a", "answer": "42", "extra": [1.5]}
    assert rows["b"] == {"prompt": "b", "answer": 3.141592653589793, "extra": "x"}
    call = {"function": {"name": "area", "arguments": {"radius": 3.141592653589793, "id": 2**70}}}
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    calls = write_lines(tmp_path / "c.jsonl", [{"messages": turns}])
    data = Data(train=(DataSource(path=str(calls)),), eval=())
    recipe = Recipe(name="t", method="sft", model={"model_name_or_path": "builtin:tiny-llama"}, data=data, training={})
    [row] = load_data(recipe, inputs=Path).train
    assert row["messages"][1]["tool_calls"][0]["function"]["arguments"] == {"radius": 3.141592653589793, "id": 2**70}


def test_a_template_shows_a_number_as_the_file_does(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [])
    path.write_text('{"q": "price?", "price": 1.50, "large": 1e3, "sold": true}\n')
    template = {"prompt": "{q}", "completion": "{price} {large} {sold}"}
    data = Data(train=(DataSource(path=str(path), template=template),), eval=())
    recipe = Recipe(name="t", method="sft", model={"model_name_or_path": "builtin:tiny-llama"}, data=data, training={})
    assert list(load_data(recipe, inputs=Path).train) == [{"prompt": "price?", "completion": "1.50 1e3 true"}]
