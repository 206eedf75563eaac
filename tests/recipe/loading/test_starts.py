"""``model: {run: …}``: what a recipe that starts from a run becomes, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from runner.errors import UserError
from runner.recipe.loading.load import LoadedRecipe, load_recipe
from runner.recipe.loading.starts import RunStart

_START = RunStart(
    run_id="quick-ab12",
    checkpoint="sft-000004-0001-abcd",
    digest="1" * 64,
    model={"model_name_or_path": "builtin:tiny-llama"},
)


def resolve(run: str, checkpoint: str | None) -> RunStart:
    if run != "quick":
        raise UserError(f"no run {run!r}", remedy="`runner ps` lists them")
    if checkpoint not in ("best", "4"):
        raise UserError(f"the run has no checkpoint {checkpoint!r}", where="--checkpoint", remedy="it has sft-4")
    return _START


def load(tmp_path: Path, model: str, *overrides: str, **options: Any) -> LoadedRecipe:
    path = tmp_path / "small.yaml"
    path.write_text(f"method: sft\nmodel: {model}\ndata: {{train: [{{path: builtin:python-docstrings}}]}}\n")
    return load_recipe(str(path), overrides=overrides, cwd=tmp_path, **{"start": resolve, **options})


@pytest.mark.parametrize("checkpoint", ["best", "4"])
def test_the_run_and_the_checkpoint_are_named_in_full(tmp_path: Path, checkpoint: str) -> None:
    loaded = load(tmp_path, f"{{run: quick, checkpoint: {checkpoint}}}")
    assert loaded.recipe.model == {
        "run": "quick-ab12",
        "checkpoint": "sft-000004-0001-abcd",
        "model_name_or_path": "builtin:tiny-llama",
    }
    assert loaded.start == _START


def test_set_chooses_another_run(tmp_path: Path) -> None:
    loaded = load(tmp_path, "{run: other, checkpoint: best}", "model.run=quick")
    assert loaded.recipe.model["run"] == "quick-ab12"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("{run: other}", "small.yaml:2: model.run: no run 'other'"),
        ("{run: quick, checkpoint: 9}", "small.yaml:2: model.checkpoint: the run has no checkpoint '9'"),
        ("{run: quick, checkpoint: 1.5}", "model.checkpoint: 1.5 names no checkpoint"),
        ("{run: 3}", "model.run: text expected, not 3"),
        ("{model_name_or_path: builtin:tiny-llama, checkpoint: best}", "there is no `run` that has it"),
        ("{run: quick, checkpoint: best, model_name_or_path: org/other}", "is not what quick-ab12 was trained from"),
    ],
)
def test_what_does_not_fit_is_refused_where_it_is_written(tmp_path: Path, model: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, model)
    assert words in str(caught.value)


def test_without_a_store_a_recipe_that_has_the_whole_names_is_loaded(tmp_path: Path) -> None:
    whole = "{run: quick-ab12, checkpoint: sft-000004-0001-abcd, model_name_or_path: builtin:tiny-llama}"
    assert load(tmp_path, whole, start=None).recipe.model["run"] == "quick-ab12"
    with pytest.raises(UserError, match="the store that has the run is not asked here"):
        load(tmp_path, "{run: quick}", start=None)
