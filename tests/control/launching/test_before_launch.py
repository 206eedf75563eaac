"""What is said before a launch: packages, paths that do not travel, code that has to be trusted."""

import json
from pathlib import Path

import pytest

from runner.control.launching.hub_model import require_usable_model
from runner.control.launching.left_behind import warnings_about_paths
from runner.control.launching.packages import require_packages
from runner.errors import UserError
from runner.recipe.loading.load import LoadedRecipe, load_recipe
from runner.recipe.problems import dotted_path
from runner.recipe.recipe import Data, DataSource, Export, Recipe


def _recipe(folder: str, **training: object) -> Recipe:
    return Recipe(
        name="t",
        method="sft",
        model={"model_name_or_path": folder},
        data=Data(train=(DataSource(path="builtin:python-docstrings"),)),
        training=training,
    )


def _load(tmp_path: Path, text: str) -> LoadedRecipe:
    (tmp_path / "r.yaml").write_text(text)
    return load_recipe("./r.yaml", cwd=tmp_path)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "model.safetensors").write_bytes(b"\2" + bytes(7) + b"{}")
    return folder


def test_paths_that_stay_on_this_machine_are_said_each_once(tmp_path: Path, model: Path) -> None:
    """In each stage, in `export.base`, under `training:`; single files of data travel."""
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/a.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (tmp_path / "b.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (tmp_path / "t.jinja").write_text("{{ messages }}")
    text = f"""\
model: {{model_name_or_path: ./model}}
adapter: {{r: 4}}
export: {{merge: true, base: ./model}}
stages:
  - {{method: sft, data: {{train: [{{path: ./b.jsonl}}]}}}}
  - {{method: sft, name: b, data: {{train: [{{path: ./rows}}]}}, training: {{chat_template_path: {tmp_path}/t.jinja}}}}
"""
    loaded = _load(tmp_path, text)
    said = warnings_about_paths(loaded.recipe, locate=loaded.locate)
    assert [sentence.split(" is only on this machine")[0].split(": ")[-1] for sentence in said] == [
        str(model),
        f"{tmp_path}/rows",
        f"{tmp_path}/t.jinja",
    ]
    assert "stages.1.data.train.0.path" in said[1]
    assert all("it has to be there" in sentence for sentence in said)


def test_what_is_mounted_is_not_said(tmp_path: Path, model: Path) -> None:
    text = f"""\
method: sft
model: {{model_name_or_path: ./model}}
data: {{train: [{{path: builtin:python-docstrings}}]}}
sky: {{file_mounts: {{{tmp_path}: .}}}}
"""
    loaded = _load(tmp_path, text)
    assert warnings_about_paths(loaded.recipe, locate=loaded.locate) == []


def test_what_is_on_the_hub_or_built_in_is_not_said() -> None:
    recipe = _recipe("me/model")
    assert warnings_about_paths(recipe, locate=dotted_path) == []
    assert warnings_about_paths(_recipe("builtin:tiny-llama"), locate=dotted_path) == []
    assert Export().base is None


def test_a_package_that_is_surely_missing_is_refused_and_one_of_an_own_image_only_said() -> None:
    recipe = _recipe("builtin:tiny-llama", optim="grokadamw")
    with pytest.raises(UserError, match="needs the package grokadamw"):
        require_packages(recipe, here=False, own_image=False, where="r", locate=dotted_path)
    [sentence] = require_packages(recipe, here=False, own_image=True, where="r", locate=dotted_path)
    assert sentence.startswith("warning: training.optim: ")


def test_kernels_that_a_cpu_does_without_are_no_mistake_here() -> None:
    recipe = _recipe("builtin:tiny-llama", use_liger_kernel=True)
    assert len(require_packages(recipe, here=True, own_image=False, where="r", locate=dotted_path)) == 1
    with pytest.raises(UserError, match="liger-kernel"):
        require_packages(recipe, here=False, own_image=False, where="r", locate=dotted_path)


def test_code_of_a_model_has_to_be_trusted_before_a_machine_is_paid_for(model: Path) -> None:
    own = {"model_type": "mymodel", "auto_map": {"AutoConfig": "configuration_my.MyConfig"}}
    (model / "config.json").write_text(json.dumps(own))
    with pytest.raises(UserError, match="trust_remote_code: true"):
        require_usable_model(_recipe(str(model)), where="r", locate=dotted_path)
    require_usable_model(_recipe(str(model), trust_remote_code=True), where="r", locate=dotted_path)
    (model / "config.json").write_text('{"model_type": "llama"}')
    require_usable_model(_recipe(str(model)), where="r", locate=dotted_path)
