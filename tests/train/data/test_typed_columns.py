"""What `datasets` guessed is said of data that it reads itself; typed columns become the text that people write."""

import datetime
from pathlib import Path

import pytest
from datasets import Dataset
from datasets.load import load_dataset

from runner.train.data.typed_columns import name_guesses

ROWS = "day,zip,text,flag\n2024-03-04,02130,hello,True\n2024-03-05,02131,there,False\n"
LINES = '{"day": "2024-03-04T00:00:00", "text": "a", "n": 1}\n{"day": "2024-03-05T00:00:00", "text": "b", "n": 2}\n'


@pytest.fixture
def notes() -> list[str]:
    return []


def test_the_columns_that_were_guessed_are_named(tmp_path: Path, notes: list[str]) -> None:
    """As of a hub dataset, which is read the same way."""
    (tmp_path / "rows.csv").write_text(ROWS)
    dataset = load_dataset("csv", data_files=str(tmp_path / "rows.csv"), split="train", cache_dir=str(tmp_path / "c"))
    name_guesses(dataset, "data.train.0", notes)
    (note,) = notes
    assert note.startswith("data.train.0: the types of ")
    assert "zip" in note
    assert "flag" in note
    assert "text" not in note.partition(" were guessed")[0]


def test_times_that_json_never_had_are_named(tmp_path: Path, notes: list[str]) -> None:
    (tmp_path / "rows.jsonl").write_text(LINES)
    file, cache = str(tmp_path / "rows.jsonl"), str(tmp_path / "cache")
    dataset = load_dataset("json", data_files=file, split="train", cache_dir=cache)
    name_guesses(dataset, "data.train.0", notes)
    assert len(notes) == 1
    assert "day" in notes[0].partition(" were guessed")[0]


def test_types_that_the_data_have_are_not_called_guessed(notes: list[str]) -> None:
    name_guesses(Dataset.from_dict({"day": [datetime.date(2024, 3, 4)], "n": [1]}), "data.train.0", notes)
    assert notes == []


def test_cells_of_text_that_were_taken_for_missing_are_counted(tmp_path: Path, notes: list[str]) -> None:
    (tmp_path / "rows.csv").write_text("label,text\nNone,a\nNA,b\nyes,c\n")
    file, cache = str(tmp_path / "rows.csv"), str(tmp_path / "cache")
    name_guesses(load_dataset("csv", data_files=file, split="train", cache_dir=cache), "data.train.0", notes)
    assert "label (2 cells taken for missing)" in notes[0]
