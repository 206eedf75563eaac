"""`stages:` are recipes one after the other, and the sections beside them their defaults."""

import json

import pytest
from jsonschema import Draft202012Validator

from runner.recipe.recipe import Recipe
from runner.recipe.schema import published_schema
from support.recipes import Check, Refuse, settings_of

STAGED = """\
# Reads, then answers
name: staged
model: {model_name_or_path: builtin:tiny-llama}
adapter: {r: 4, target_modules: all-linear}
data: {eval: {from_train: 8}}
training: {learning_rate: 1e-3, max_steps: 7}
checkpoint: {save_steps: 5}
evaluate: {before_and_after: true, prompts: [x]}
export: {merge: true}
stages:
  - method: cpt
    data: {train: [{path: builtin:python-docstrings, template: {text: "{prompt}"}}]}
  - method: sft
    data:
      train: [{path: builtin:python-docstrings}]
    training: {num_train_epochs: 1, save_steps: 9}
    adapter: {r: 8}
  - name: again
    method: sft
    data: {train: [{path: builtin:python-docstrings}]}
    training: {learning_rate: 1e-4}
    adapter: null
    evaluate: {prompts: []}
"""
FULL_AT_LAST = STAGED.replace("export: {merge: true}\n", "")


def test_what_a_stage_does_not_say_stands_at_the_top(check: Check) -> None:
    """Key by key; the name is the method's if none is given."""
    loaded = check(text=FULL_AT_LAST)
    first, second, third = loaded.recipe.stages
    assert [stage.stage_name for stage in loaded.recipe.in_order] == ["cpt", "sft", "again"]
    assert [stage.method for stage in loaded.recipe.stages] == ["cpt", "sft", "sft"]
    assert first.training == {"learning_rate": 1e-3, "max_steps": 7}
    assert second.training == {"learning_rate": 1e-3, "num_train_epochs": 1}, "the length is said in one way"
    assert third.training == {"learning_rate": 1e-4, "max_steps": 7}
    assert [stage.adapter and stage.adapter["r"] for stage in loaded.recipe.stages] == [4, 8, None]
    assert second.adapter == {"r": 8, "target_modules": "all-linear"}
    assert [stage.checkpoint.save_steps for stage in loaded.recipe.stages] == [5, 9, 5]
    assert [stage.evaluate.prompts for stage in loaded.recipe.stages] == [("x",), ("x",), ()]
    assert all(stage.data.eval_from_train == 8 for stage in loaded.recipe.stages)
    assert loaded.settings["stages.cpt.training.packing"].value is True
    assert loaded.settings["stages.again.training.learning_rate"].value == 1e-4
    assert loaded.settings["model.model_name_or_path"].value == "builtin:tiny-llama"
    assert "training.learning_rate" not in loaded.settings


def test_a_staged_recipe_comes_back_from_its_mapping(check: Check) -> None:
    """As it does from run.json."""
    recipe = check(text=FULL_AT_LAST).recipe
    assert Recipe.from_mapping(json.loads(json.dumps(recipe.to_mapping()))) == recipe


def test_only_what_the_last_stage_ends_with_is_exported(check: Check, refuse: Refuse) -> None:
    """A stage before it may be without an adapter; the last may not, if there is to be merged."""
    text = STAGED.replace("    adapter: null\n", "")
    assert [stage.export.merge for stage in check(text=text).recipe.stages] == [False, False, True]
    assert settings_of(refuse(text=STAGED)) == ["export.merge"]


def test_the_command_line_counts_for_all_stages_or_for_one(check: Check) -> None:
    """Said at the top it counts more than what a stage's recipe says, and less than what is said of the stage."""
    loaded = check(
        "training.learning_rate=0.5", "training.max_steps=2", "stages.again.training.learning_rate=0.25",
        "stages.0.checkpoint.save_steps=3", "adapter=null", text=FULL_AT_LAST,
    )  # fmt: skip
    assert [stage.training["learning_rate"] for stage in loaded.recipe.stages] == [0.5, 0.5, 0.25]
    assert [stage.training.get("max_steps") for stage in loaded.recipe.stages] == [2, 2, 2]
    assert loaded.recipe.stages[0].checkpoint.save_steps == 3
    assert [stage.adapter for stage in loaded.recipe.stages] == [None, None, None]
    assert loaded.settings["stages.cpt.training.max_steps"].source == "--set"
    assert loaded.settings["stages.sft.training.num_train_epochs"].source == "recipe"


@pytest.mark.parametrize(
    ("overrides", "place", "what", "remedy"),
    [
        (["method=sft"], "--set method=sft", "`stages` is set as well", "in the stages"),
        (["stages=[]"], "--set stages=[]", "a list of stages expected", "[{method: sft}]"),
        (["stages.0=7"], "--set stages.0=7", "a mapping expected", "{method: …}"),
        (["stages.0.name=A-b"], "stages.0.name", "`A-b` cannot name a stage", "lower-case letters"),
        (["stages.2.name=cpt"], "recipe.yaml", "two stages are called `cpt`", "a `name:` of its own"),
        (["stages.1.method=sfd"], "stages.1.method", "is not one of sft, cpt, dpo, grpo", "did you mean `sft`?"),
        (["stages.0.seed=1"], "stages.0.seed", "there is no such setting", "belongs under `training:`"),
        (["stages.0.model.dtype=x"], "stages.0.model", "there is no such setting", "starts from the one before it"),
        (["stages.0.export.merge=true"], "stages.0.export", "there is no such setting", "the result of the last stage"),
        (["stages.0.trainig.seed=1"], "stages.0.trainig", "there is no such setting", "did you mean `training`?"),
        (["stages.1.training.beta=0.1"], "stages.1.training.beta", "a setting of dpo and grpo", "leave it out"),
        (["training.beta=0.1"], "training.beta=0.1", "and not of every stage's", "write it in the stages"),
        (["stages.1.training.learnin_rate=1"], "learnin_rate", "no such setting", "did you mean `learning_rate`?"),
        (["training.learnin_rate=1"], "training.learnin_rate", "no such setting", "did you mean `learning_rate`?"),
        (["stages.cpt.data.train.0.path=nix.jsonl"], "stages.cpt.data", "there is no file or folder", None),
        (["data.train=[{path: 'builtin:arithmetic'}]"], "data.train", "no format", None),
        (["stages.sft2.training.seed=1"], "stages.sft2", "is not one of its entries", "count from 0"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_where_it_was_made(
    refuse: Refuse, overrides: list[str], place: str, what: str, remedy: str | None
) -> None:
    """In the stage, or at the top; once, though it counts for each stage."""
    error = refuse(*overrides, text=FULL_AT_LAST)
    assert place in str(error)
    assert what in str(error)
    assert remedy is None or remedy in str(error)
    assert str(error).count(what) == 1


def test_a_default_that_no_stage_takes_is_refused(refuse: Refuse) -> None:
    """It would be ignored in silence."""
    text = FULL_AT_LAST.replace("data: {eval", "data: {train: [{path: builtin:arithmetic}], eval")
    error = refuse(text=text)
    assert settings_of(error) == ["data.train"]
    assert "every stage sets its own" in str(error)
    assert "recipe.yaml:5" in str(error)


def test_lines_are_those_of_the_stage(refuse: Refuse) -> None:
    """An editor jumps there."""
    error = refuse(text=FULL_AT_LAST.replace("{r: 8}", "{rr: 8}"))
    assert "recipe.yaml:16: stages.1.adapter.rr" in str(error)


def test_rules_hold_in_each_stage(refuse: Refuse) -> None:
    """Each is checked as a recipe of its own."""
    error = refuse("stages.again.training.eval_steps=5", "model.load_in_4bit=true", text=FULL_AT_LAST)
    assert settings_of(error) == ["model.load_in_4bit", "stages.2.training.eval_steps"]


def test_editors_take_stages() -> None:
    """The published schema knows them, with each method's own settings."""
    published = Draft202012Validator(published_schema())
    recipe = {"model": {"model_name_or_path": "x"}, "data": {"eval": {"from_train": 5}}, "stages": [{"method": "dpo"}]}
    assert published.is_valid(recipe)
    recipe["stages"] = [{"method": "dpo", "training": {"beta": 0.1}, "adapter": {"r": 3}}]
    assert published.is_valid(recipe)
    for wrong in ({"training": {"packing": True}}, {"adapter": {"rr": 3}}, {"name": "A"}, {"model": {}}):
        assert not published.is_valid({**recipe, "stages": [{"method": "dpo", **wrong}]}), wrong
    assert not published.is_valid({**recipe, "method": "sft"})
    assert not published.is_valid({"model": {"model_name_or_path": "x"}, "data": {"eval": []}, "method": "sft"})
