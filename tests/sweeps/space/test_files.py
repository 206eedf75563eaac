"""Files and folders that only a drawn value names: what travels, and what a worker has to find where it is."""

from pathlib import Path
from typing import Any

import pytest

from runner.runs.submission.portable import portable_recipe
from runner.sweeps.space.files import drawn_files, paths_of
from support.sweeping.files import SweepFiles

ROWS = '{"text": "a"}\n' * 100


@pytest.fixture
def folder(files: SweepFiles) -> Path:
    """The sweep's, with a folder and a file of rows, and the folder of a model."""
    for name in ("rows", "more"):
        (files.folder / name).mkdir()
        (files.folder / name / "rows.jsonl").write_text(ROWS)
    (files.folder / "rows.jsonl").write_text(ROWS)
    (files.folder / "template.jinja").write_text("{{ messages[0]['content'] }}")
    return files.folder


def values(*choices: Any) -> dict[str, Any]:
    return {"values": list(choices)}


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"data.train.0.path": values("builtin:python-docstrings", "./rows")}, ["rows"]),
        ({"data.train.0.path": {"values": ["./rows", "./more"], "probabilities": [0.5, 0.5]}}, ["more", "rows"]),
        ({"data": values({"train": [{"path": "./rows"}]}, {"train": [{"path": "./more"}]})}, ["more", "rows"]),
        ({"data.train.0.path": values("./rows.jsonl", "builtin:python-docstrings")}, []),
        ({"training.chat_template_path": values(None, "./template.jinja")}, ["template.jinja"]),
        ({"training.run_name": values("/etc", "other")}, []),
    ],
)
def test_what_stays_where_it_is_is_named_and_what_travels_is_not(
    files: SweepFiles, folder: Path, parameters: dict[str, Any], named: list[str]
) -> None:
    sweep = files.load(parameters=parameters)
    portable = portable_recipe(sweep.recipe, drawn=drawn_files(sweep.space), cwd=folder)
    assert paths_of(portable, [sweep.space]) == [str(folder / name) for name in named]
    assert (len(portable.inputs) == 1) == ("rows.jsonl" in str(parameters))


def test_an_absolute_folder_is_named_too(files: SweepFiles, folder: Path) -> None:
    sweep = files.load(parameters={"data.train.0.path": values(str(folder / "rows"), "builtin:python-docstrings")})
    portable = portable_recipe(sweep.recipe, drawn=drawn_files(sweep.space), cwd=folder)
    assert paths_of(portable, [sweep.space]) == [str(folder / "rows")]
