"""A recipe that is written in Python: its types are the schema's, it is checked and launched as a file is."""

import importlib.util
import json
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import numpy
import pytest
import yaml

import runner
from runner.api import sections
from runner.recipe.problems import RecipeError
from runner.recipe.schema import recipe_schema
from support.bench import bench as bench
from support.in_process import InProcess
from support.in_process import here as here
from support.paths import ROOT

SMALL: dict[str, Any] = {
    "name": "small",
    "method": "sft",
    "model": {"model_name_or_path": "builtin:tiny-llama"},
    "data": {"train": [{"path": "builtin:python-docstrings"}]},
    "training": {"max_steps": 3},
}


def test_the_types_are_current() -> None:
    generate = [sys.executable, str(ROOT / "tools/generate_sections.py"), "--check"]
    done = subprocess.run(generate, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("method", "training"),
    [("sft", sections.SFTTraining), ("cpt", sections.SFTTraining), ("dpo", sections.DPOTraining),
     ("grpo", sections.GRPOTraining)],
)  # fmt: skip
def test_every_key_of_the_schema_has_a_type(method: str, training: Any) -> None:
    properties = recipe_schema(method)["properties"]
    types = {
        "training": training,
        "model": sections.Model,
        "adapter": sections.Adapter,
        "data": sections.Data,
        "checkpoint": sections.Checkpoint,
        "watchdog": sections.Watchdog,
        "evaluate": sections.Evaluate,
        "export": sections.Export,
        "notify": sections.Notification,
        "resources": sections.Resources,
        "sky": sections.Sky,
    }
    sections_of = {**properties, "notify": properties["notify"]["items"]}
    for name, typed in types.items():
        known = {key for key, value in sections_of[name]["properties"].items() if value is not False}
        assert set(typing.get_type_hints(typed)) == known, name


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")
def test_a_type_checker_finds_mistakes_and_takes_the_example(tmp_path: Path) -> None:
    """The example in the documentation is right; a misspelt key, a wrong value and another method's key are not."""
    head = (
        'import runner\n\nrunner.Recipe(name="x", model={"model_name_or_path": "m"}, data={"train": [{"path": "p"}]}, '
    )
    for name, rest in {
        "misspelt": 'method="sft", training={"learnin_rate": 1.0})',
        "wrong": 'method="sft", training={"learning_rate": "high"})',
        "anothers": 'method="sft", training={"beta": 0.1})',
        "right": 'method="dpo", training={"beta": 0.1})',
        "stages": 'stages=[{"method": "cpt"}, {"method": "grpo", "training": {"num_generations": 4}}])',
    }.items():
        (tmp_path / f"{name}.py").write_text(f"{head}{rest}\n")
    files = [ROOT / "docs/examples/recipe_in_python.py", *sorted(tmp_path.glob("*.py"))]
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file",
        str(ROOT / "pyproject.toml"),
        *map(str, files),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600)
    wrong = {Path(line.partition(":")[0]).stem for line in done.stdout.splitlines() if ": error: " in line}
    assert wrong == {"misspelt", "wrong", "anothers"}, done.stdout + done.stderr


def test_a_recipe_is_launched_as_its_file_would_be(here: InProcess) -> None:
    """The same digest, the same settings with their sources; numbers of NumPy, paths and tuples are taken."""
    recipe = runner.Recipe(
        name="small",
        method="sft",
        model={"model_name_or_path": "builtin:tiny-llama"},
        data={"train": ({"path": "builtin:python-docstrings"},)},
        training={"max_steps": numpy.int64(3), "learning_rate": numpy.float64(0.25)},  # type: ignore[typeddict-item]
    )
    assert recipe.check() == []
    run = runner.launch(recipe, name="python", overrides={"training.seed": 7})
    written = recipe.write("written.yaml")
    assert yaml.safe_load(written.read_text())["training"] == {"max_steps": 3, "learning_rate": 0.25}
    other = runner.launch(written, name="file", overrides={"training.seed": 7})
    mapping = runner.launch(dict(SMALL), name="mapping")
    assert [one.wait(60).state for one in (run, other, mapping)] == ["succeeded"] * 3
    documents = [json.loads(here.bench.store.get(f"runs/{one.run_id}/run.json")) for one in (run, other)]
    for key in ("recipe", "settings", "digest"):
        assert documents[0][key] == documents[1][key]
    assert documents[0]["settings"]["training.max_steps"] == {"value": 3, "source": "recipe"}
    assert documents[0]["settings"]["training.seed"] == {"value": 7, "source": "flag"}
    with pytest.raises(runner.UserError, match="there is such a file already"):
        recipe.write("written.yaml")


def test_relative_paths_begin_in_the_working_directory(here: InProcess) -> None:
    rows = [{"prompt": "a", "completion": " b"}] * 4
    (here.bench.folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = runner.launch({**SMALL, "data": {"train": [{"path": Path("rows.jsonl")}]}})
    run.wait(60)
    document = json.loads(here.bench.store.get(f"runs/{run.run_id}/run.json"))
    [entry] = document["recipe"]["data"]["train"]
    assert entry["path"].startswith("inputs/")
    assert entry["path"].endswith("/rows.jsonl")


@pytest.mark.parametrize(
    ("change", "where", "what"),
    [
        ({"training": {"learnin_rate": 1}}, "recipe small", "did you mean `learning_rate`"),
        ({"training": {"max_steps": {1}}}, "training.max_steps", "is a set, which no recipe holds"),
        ({"training": {"max_steps": float("nan")}}, "recipe small", "training.max_steps"),
        ({"training": {3: 4}}, "training", "the key 3 is not text"),
        ({"name": None}, "the recipe", "has no name"),
        ({"data": {"train": [{"path": "nowhere.jsonl"}]}}, "recipe small", "data.train.0"),
    ],
)
def test_mistakes_say_where_and_what_to_write(here: InProcess, change: Any, where: str, what: str) -> None:
    with pytest.raises(runner.UserError) as caught:
        runner.launch({**SMALL, **change})
    assert caught.value.where == where
    assert what in str(caught.value)
    assert here.bench.store.folders("runs/") == []


def test_all_mistakes_are_listed_at_once() -> None:
    recipe = runner.Recipe(
        name="small",
        method="sft",
        model={"model_name_or_path": "builtin:tiny-llama", "load_in_4bits": True},  # type: ignore[typeddict-unknown-key]
        data={"train": [{"path": "builtin:python-docstrings"}]},
        training={"max_stops": 3},  # type: ignore[typeddict-unknown-key]
    )
    with pytest.raises(RecipeError) as caught:
        recipe.check()
    assert [problem.path for problem in caught.value.problems] == [
        ("model", "load_in_4bits"),
        ("training", "max_stops"),
    ]


def test_a_recipe_is_a_mapping_of_what_was_written() -> None:
    recipe = runner.Recipe(
        name="chain",
        stages=[{"method": "cpt"}, {"method": "sft"}],
        model={"model_name_or_path": "builtin:tiny-llama"},
        data={"train": [{"path": "builtin:python-docstrings"}]},
        training={"max_steps": 2},
    )
    assert list(recipe) == ["name", "stages", "model", "data", "training"]
    assert recipe["training"] == {"max_steps": 2}
    assert len(recipe) == 5
    assert "method" not in recipe
    assert eval(repr(recipe), {"Recipe": runner.Recipe})["stages"] == recipe["stages"]
