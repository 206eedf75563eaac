"""The command line over the recipe: default < recipe < --set < flag."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import UserError
from runner.recipe.loading.overrides import apply_overrides
from runner.recipe.loading.strict_yaml import Document
from support.recipes import Check, Refuse


def over(data: dict[str, Any], *overrides: str, **flags: Any) -> dict[str, Any]:
    return apply_overrides(
        Document(data), overrides, {key.replace("__", "."): value for key, value in flags.items()}
    ).data


def test_each_setting_knows_who_set_it(check: Check) -> None:
    """run.json says of every value, the libraries' defaults included, where it came from."""
    loaded = check("training.learning_rate=1e-4", "training.seed=7", flags={"training.seed": 8, "name": "mine"})
    settings = {key: (setting.value, setting.source) for key, setting in loaded.settings.items()}
    assert settings["training.max_steps"] == (5, "recipe")
    assert settings["training.learning_rate"] == (1e-4, "--set")
    assert settings["training.seed"] == (8, "flag")
    assert settings["name"] == ("mine", "flag")
    assert settings["training.weight_decay"] == (0.0, "default")
    assert settings["checkpoint.save_minutes"] == (5.0, "default")
    assert settings["data.train.0.path"] == ("builtin:python-docstrings", "recipe")
    assert settings["data.train.0.split"] == ("train", "default")
    assert loaded.recipe.training == {"max_steps": 5, "learning_rate": 1e-4, "seed": 8}


def test_a_section_set_as_a_whole_is_set_all_the_way_down(check: Check) -> None:
    """What lies below an override is the override's, and what lay there before is gone."""
    loaded = check("training.seed=7", "training={learning_rate: 1e-4}", "adapter={r: 4}")
    assert loaded.recipe.training == {"learning_rate": 1e-4}
    assert loaded.settings["training.learning_rate"].source == "--set"
    assert loaded.settings["training.seed"].source == "default"
    assert loaded.settings["adapter.r"].source == "--set"


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("a.b.c=1", {"a": {"b": {"c": 1}}, "xs": [{"p": 1}]}),
        ("xs.0.p=2", {"xs": [{"p": 2}]}),
        ("xs.1.p=2", {"xs": [{"p": 1}, {"p": 2}]}),
        ("xs.1=y", {"xs": [{"p": 1}, "y"]}),
        ("xs=[]", {"xs": []}),
        ("xs.0.q=a=b", {"xs": [{"p": 1, "q": "a=b"}]}),
        ("data.eval.0.path=x", {"xs": [{"p": 1}], "data": {"eval": [{"path": "x"}]}}),
    ],
)
def test_paths_lead_through_mappings_and_lists(override: str, value: dict[str, Any]) -> None:
    """Missing sections are made, list entries counted from 0, and the next one adds an entry."""
    assert over({"xs": [{"p": 1}]}, override) == value


@pytest.mark.parametrize(
    "override", ["", "x", "=1", "a..b=1", ".a=1", "a.=1", "xs.2.p=1", "xs.-1=1", "xs.x=1", "n.x=1"]
)
def test_a_path_that_leads_nowhere_is_refused(override: str) -> None:
    """The message shows the override as it was written, and how one is written."""
    with pytest.raises(UserError) as caught:
        over({"xs": [1], "n": 5}, override)
    assert (caught.value.where or "").startswith("--set")
    assert caught.value.remedy


def test_a_mistake_on_the_command_line_is_shown_as_such(refuse: Refuse) -> None:
    """Not the recipe's line, which is innocent."""
    error = refuse("training.learnin_rate=1")
    assert error.where == "--set training.learnin_rate=1"
    assert error.remedy == "did you mean `learning_rate`?"
    assert refuse(flags={"training.seed": -1}).where == "the flag for training.seed"


def test_the_recipe_itself_is_not_changed() -> None:
    """One document can be laid under many overrides."""
    document = Document({"a": {"b": [1]}})
    apply_overrides(document, ["a.b.0=2", "a.c=3"], {"a.b": 4})
    assert document.data == {"a": {"b": [1]}}


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_word_is_an_override_or_an_error(key: str, value: str) -> None:
    """Nothing but `UserError` escapes."""
    try:
        result = apply_overrides(Document({"a": {"b": [1, {"c": 2}]}}), [f"{key}={value}"], {})
    except UserError:
        return
    assert isinstance(result.data, dict)


@given(st.lists(st.sampled_from(["a", "b", "0", "1", "2"]), min_size=1, max_size=4), st.integers())
def test_what_is_set_can_be_read_back(steps: list[str], value: int) -> None:
    """An override that is taken arrives where its path says."""
    try:
        result: Any = apply_overrides(Document({"a": {"b": [1, {"c": 2}]}}), [f"{'.'.join(steps)}={value}"], {}).data
    except UserError:
        return
    for step in steps:
        result = result[int(step)] if isinstance(result, list) else result[step]
    assert result == value


def test_a_default_that_does_not_hold_is_not_recorded(check: Check) -> None:
    """With an effective batch size, micro-batch and accumulation follow from it and the GPU, not from TRL's default."""
    settings = check("training.effective_batch_size=16", "training.gradient_accumulation_steps=2").settings
    assert settings["training.gradient_accumulation_steps"].value == 2
    assert "training.per_device_train_batch_size" not in settings
    assert check().settings["training.per_device_train_batch_size"].value == 8
