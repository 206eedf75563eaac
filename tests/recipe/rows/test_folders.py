"""The files of a folder are the splits that `datasets` sees in their names."""

import json
from pathlib import Path

import pytest
from datasets.data_files import DataFilesDict, get_data_patterns

from runner.errors import UserError
from runner.recipe.rows.folders import files_of_split, left_out_sentence, split_files

FOLDERS = [
    ["a.jsonl", "b.jsonl"],
    ["train.jsonl", "test.jsonl"],
    ["train.jsonl", "validation.jsonl", "test.jsonl", "other.jsonl"],
    ["my_train_set.csv", "dev.csv"],
    ["train/a.jsonl", "train/deep/b.jsonl", "valid/c.jsonl"],
    ["2024-train-x/a.jsonl", "x/testing/b.jsonl"],
    ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/dev-00000-of-00001.parquet"],
    ["data/zulu-00000-of-00001.jsonl", "data/alpha-00000-of-00001.jsonl"],
    ["trainer.jsonl", "latest.jsonl"],
    ["train1.jsonl", "test2.jsonl"],
    ["training.jsonl", "evaluation.jsonl"],
    ["Train.jsonl"],
    [".hidden/train.jsonl", "test.jsonl"],
    ["__pycache__/train.jsonl", "b.jsonl"],
    ["b.jsonl", "config.json", "README.md"],
    ["test.jsonl"],
    ["a.jsonl", "b.txt", "c.jsonl"],
    ["a.csv", "b.jsonl"],
    ["sub/a.jsonl", "sub/more/b.jsonl", "c.jsonl"],
    ["val/a.jsonl", "train.jsonl"],
]


def make(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("" if name.endswith(".md") else json.dumps({"text": name}) + "\n")


@pytest.mark.parametrize("names", FOLDERS, ids=lambda names: names[0])
def test_splits_are_those_that_datasets_sees(tmp_path: Path, names: list[str]) -> None:
    make(tmp_path, names)
    patterns = get_data_patterns(str(tmp_path))
    seen = split_files(tmp_path)
    assert seen is not None
    known = (".jsonl", ".csv", ".parquet", ".txt")
    theirs = DataFilesDict.from_patterns(patterns, str(tmp_path))
    expected = {split: [Path(path) for path in files if Path(path).suffix in known] for split, files in theirs.items()}
    if len({path.suffix for files in expected.values() for path in files}) == 1:
        assert seen == {split: files for split, files in expected.items() if files}
    else:
        assert set(seen) == {split for split, files in expected.items() if files}


def test_a_folder_holds_files_of_one_kind(tmp_path: Path) -> None:
    """The kind of most of them, as with `datasets`."""
    make(tmp_path, ["a.jsonl", "b.txt", "c.jsonl"])
    assert split_files(tmp_path) == {"train": [tmp_path / "a.jsonl", tmp_path / "c.jsonl"]}


def test_data_of_another_kind_are_said(tmp_path: Path) -> None:
    names = ["a.jsonl", "sub/c.json", "d.jsonl", "LICENSE.txt", "notes.md", "config.json"]
    make(tmp_path, names)
    assert left_out_sentence(tmp_path, "data.train.0") is None
    make(tmp_path, ["b.csv", "0.parquet"])
    said = "data.train.0: of this folder only .json, .jsonl is read, not 0.parquet, b.csv."
    assert left_out_sentence(tmp_path, "data.train.0") == said


def test_names_are_names_and_no_patterns(tmp_path: Path) -> None:
    folder = tmp_path / "[data] v2"
    make(folder, ["train-[v2].jsonl", "a::b/test.jsonl"])
    assert split_files(folder) == {"train": [folder / "train-[v2].jsonl"], "test": [folder / "a::b/test.jsonl"]}


@pytest.mark.parametrize(
    ("split", "names"),
    [("train", ["train.jsonl"]), ("test[:10%]", ["test.jsonl"]), ("train+test", ["train.jsonl", "test.jsonl"])],
)
def test_slices_and_sums_of_splits_are_looked_up_by_their_names(tmp_path: Path, split: str, names: list[str]) -> None:
    make(tmp_path, ["train.jsonl", "test.jsonl"])
    assert files_of_split(tmp_path, split) == [tmp_path / name for name in names]


def test_a_split_that_is_not_there_is_said_with_those_that_are(tmp_path: Path) -> None:
    make(tmp_path, ["dev.jsonl", "test.jsonl"])
    with pytest.raises(UserError, match=r"no split `train`: .* has `validation` and `test`"):
        files_of_split(tmp_path, "train")


def test_a_dataset_card_that_names_the_files_is_left_to_datasets(tmp_path: Path) -> None:
    make(tmp_path, ["a.jsonl"])
    (tmp_path / "README.md").write_text("---\nconfigs:\n- config_name: default\n  data_files: a.jsonl\n---\n# Data\n")
    assert split_files(tmp_path) is None
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\nconfigs:\n")
    assert split_files(tmp_path) is not None
