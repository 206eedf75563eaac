"""What a run is made of is named by its contents, so that it can be told whether two launches mean the same."""

import json
from pathlib import Path

import pytest
from blake3 import blake3

from runner.backends.local.training_side import require_training_side
from runner.distribution import install_command
from runner.errors import UserError
from runner.recipe.loading.load import load_recipe
from runner.runs.submission.prepare import PreparedRecipe, prepare

RECIPE = """
name: small
method: sft
model: {model_name_or_path: "builtin:tiny-llama"}
data:
  train: [{path: %s}]
training: {max_steps: 3}
"""
ROW = '{"prompt": "a", "completion": "b"}\n'


def prepared(folder: Path, path: str = "train.jsonl", overrides: tuple[str, ...] = ()) -> PreparedRecipe:
    (folder / "recipe.yaml").write_text(RECIPE % path)
    return prepare(load_recipe("./recipe.yaml", overrides=overrides, cwd=folder))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.jsonl").write_text(ROW)
    return tmp_path


def test_a_data_file_becomes_an_input_named_by_its_digest(folder: Path) -> None:
    made = prepared(folder)
    key = f"inputs/{blake3(ROW.encode()).hexdigest()}/train.jsonl"
    assert made.recipe["data"]["train"][0]["path"] == key
    assert made.inputs == {key: folder / "train.jsonl"}


def test_a_prepared_recipe_is_plain_json(folder: Path) -> None:
    made = prepared(folder)
    assert json.loads(json.dumps(made.recipe)) == made.recipe
    assert json.loads(json.dumps(made.settings)) == made.settings
    assert made.settings["training.max_steps"] == {"value": 3, "source": "recipe"}


def test_the_same_recipe_elsewhere_has_the_same_digest(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "train.jsonl").write_text(ROW)
    assert prepared(folder).digest == prepared(elsewhere).digest


def test_a_changed_setting_changes_the_digest(folder: Path) -> None:
    assert prepared(folder).digest != prepared(folder, overrides=("training.max_steps=4",)).digest


def test_a_changed_data_file_changes_the_digest(folder: Path) -> None:
    before = prepared(folder).digest
    (folder / "train.jsonl").write_text(ROW * 2)
    assert prepared(folder).digest != before


def test_a_changed_file_in_a_data_folder_changes_the_digest(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "part.jsonl").write_text(ROW)
    before = prepared(folder, "./data")
    assert before.recipe["data"]["train"][0]["path"] == str(folder / "data")
    assert before.inputs == {}
    (folder / "data" / "part.jsonl").write_text(ROW * 2)
    assert prepared(folder, "./data").digest != before.digest


def test_a_machine_without_the_training_side_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever asks for it: a launch here, or an evaluation."""
    monkeypatch.setattr("runner.backends.local.training_side._TRAINING_SIDE", ("json", "no_such_package"))
    with pytest.raises(UserError) as caught:
        require_training_side("runner eval")
    assert str(caught.value).startswith("runner eval: this machine cannot train: no_such_package not installed")
    assert install_command("train") in str(caught.value)
