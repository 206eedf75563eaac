"""A template writes columns from the fields of a row, and its mistakes are said when the recipe is checked."""

import json
from pathlib import Path
from typing import Any

import pytest

from runner.errors import UserError
from runner.recipe.formats.templates.template import fill_template, template_fields
from support.recipes import Check, Refuse, settings_of

ROW = {
    "system": "",
    "question": "Why {x}?",
    "chosen": "Because.",
    "n": 5,
    "tags": ["a", "é"],
    "none": None,
    "right?": "yes",
    "#odd": "!",
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{question}", "Why {x}?"),
        ("Q: {question}\nA: {chosen}", "Q: Why {x}?\nA: Because."),
        ("{{literal}} {n} [{none}]", "{literal} 5 []"),
        ("no field", "no field"),
        ("{question}\n\n{none?}", "Why {x}?"),
        ("{question}\n\n{n?}\nA:", "Why {x}?\n\n5\nA:"),
        ("{question}\n\n{none?}\nA:", "Why {x}?\nA:"),
        ("{system?}\n\n{question}", "Why {x}?"),
        ("{question}{#none}\n### Input:\n{none}{/none}{#n} ({n}){/n}", "Why {x}? (5)"),
        ("{^none}Nothing.{/none}{^n}No number.{/n}", "Nothing."),
        ("{#n}{^none}{n}{/none}{/n}", "5"),
        ("{right?}{#odd}", "yes!"),
    ],
)
def test_fields_are_filled_in_once(template: str, text: str) -> None:
    """What a row says is text, whatever stands in it."""
    assert fill_template({"text": template}, ROW) == {"text": text}


def test_a_system_message_that_stays_empty_is_left_out() -> None:
    """Chat templates would write an empty system turn, or put their own in its place."""
    template = {"prompt": [{"role": "system", "content": "{system}"}, {"role": "user", "content": "{question}"}]}
    assert fill_template(template, ROW) == {"prompt": [{"role": "user", "content": "Why {x}?"}]}
    assert len(fill_template(template, {**ROW, "system": "Be kind."})["prompt"]) == 2


def test_the_fields_are_those_between_braces() -> None:
    assert template_fields({"a": "{x} {{y}} {z}", "b": [{"role": "user", "content": "{x}{w}"}]}) == ["x", "z", "w"]


@pytest.mark.parametrize("template", ["{", "a } b", "{}", "{{x}", "{#x}a", "a{/x}", "{#x}{#y}{/x}{/y}", "{^x}{/y}"])
def test_a_lone_brace_or_condition_is_a_mistake(template: str) -> None:
    with pytest.raises(UserError, match="is unmatched"):
        template_fields({"text": template})


ORCA: dict[str, Any] = {
    "prompt": [{"role": "system", "content": "{system}"}, {"role": "user", "content": "{question}"}],
    "chosen": [{"role": "assistant", "content": "{chosen}"}],
    "rejected": [{"role": "assistant", "content": "{rejected}"}],
}


def on_rows(folder: Path, row: dict[str, Any], template: dict[str, Any]) -> tuple[str, ...]:
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n")
    return (f"data={json.dumps({'train': [{'path': 'rows.jsonl', 'template': template}]})}",)


def test_a_text_of_a_whole_book_is_no_template() -> None:
    with pytest.raises(UserError, match="800,000 characters"):
        template_fields({"prompt": "{prompt}" * 100_000})


def test_a_dataset_of_preferences_under_other_names_is_understood(check: Check, tmp_path: Path) -> None:
    """Intel/orca_dpo_pairs, for one."""
    row = {"system": "", "question": "Why?", "chosen": "Because.", "rejected": "No."}
    loaded = check("method=dpo", *on_rows(tmp_path, row, ORCA))
    assert loaded.recipe.data.train[0].template == ORCA


def test_a_field_that_is_not_there_is_named(refuse: Refuse, tmp_path: Path) -> None:
    """With those that are."""
    error = refuse("method=dpo", *on_rows(tmp_path, {"query": "Why?", "chosen": "a", "rejected": "b"}, ORCA))
    assert settings_of(error) == ["data.train.0.template"]
    assert "no field `system` and `question`" in error.what
    assert error.remedy == "its fields: query, chosen, rejected"


@pytest.mark.parametrize(
    ("overrides", "what"),
    [
        (("method=dpo",), "the columns fit no format: prompt, completion"),
        (("method=cpt",), "the columns fit no format: prompt, completion"),
        (("method=dpo", "data.train.0.format=alpaca"), "`alpaca` is not a format for dpo"),
        (("data.train.0.format=preference",), "`preference` is not a format for sft"),
        (("data.train.0.template={text: '{x'}",), "is unmatched"),
        (("data.train.0.template={text: 5}",), "a list or text expected"),
    ],
)
def test_data_of_another_method_are_refused(refuse: Refuse, overrides: tuple[str, ...], what: str) -> None:
    """Before a machine is rented for them."""
    assert what in str(refuse(*overrides))


def test_any_column_can_be_the_text_of_continued_pretraining(check: Check) -> None:
    """Two of them, even; packing is on by default, and nothing of a long text is cut off."""
    loaded = check("method=cpt", "data.train.0.template={text: '{prompt}{completion}'}")
    assert loaded.settings["training.packing"].value is True
    assert loaded.settings["training.packing_strategy"].value == "bfd_split"
    check("method=cpt", "training.dataset_text_field=completion")


@pytest.mark.parametrize(
    ("overrides", "what", "remedy"),
    [
        (("training.beta=0.2",), "it is a setting of dpo", "or write `method: dpo`"),
        (("method=dpo", "training.packing=true"), "it is a setting of sft and cpt, not of dpo", "leave it out"),
        (("method=dpo", "training.loss_type=sigmiod"), "`sigmiod` is not one of the choices", "did you mean `sigmoid`"),
        (("method=dpo", "training.loss_type=exo_pair"), "`exo_pair` needs a `label_smoothing`", "1e-3"),
        (("method=dpo", "training.loss_weights=[1, 2]"), "2 weights for 1 kinds", "one for each"),
        (("method=dpo", "training.sync_ref_model=true"), "a checkpoint does not hold it", "leave it out"),
        (("method=dpo", "training.padding_free=true"), "ignores it for now", "leave it out"),
    ],
)
def test_a_setting_that_the_method_has_not_is_refused(
    refuse: Refuse, overrides: tuple[str, ...], what: str, remedy: str
) -> None:
    """Said in one message, whether it is another method's, or this one's and contradictory."""
    template = "data.train.0.template={prompt: '{prompt}', chosen: '{completion}', rejected: '{prompt}'}"
    error = refuse(template if "method=dpo" in overrides else "data.train.0.sample=9", *overrides)
    assert what in error.what
    assert remedy in (error.remedy or "")


@pytest.mark.parametrize(
    ("template", "what", "remedy"),
    [
        ({"prompt": "{{question}}", "completion": "{answer}"}, "is the text `{question}` in every row", '"{question}"'),
        ({"prompt": "{{question}}", "completion": "{{answer}}"}, "doubled braces insert no field", '"{question}"'),
        ({"text": "Hello."}, "it names no field of a row", "its fields: question, answer, turns"),
        ({"messages": [{"role": "assitant", "content": "{answer}"}]}, "`assitant` is not a role", "`assistant`?"),
        ({"messages": [{"role": "user"}]}, "has no role and content", "{role: user, content:"),
        ({"text": "{turns}"}, "whose field turns, which the template inserts as text, is a list", "text or numbers"),
    ],
)
def test_a_template_that_says_the_same_of_every_row_or_inserts_no_text_is_refused(
    refuse: Refuse, tmp_path: Path, template: dict[str, Any], what: str, remedy: str
) -> None:
    row = {"question": "Why?", "answer": "Because.", "turns": [{"role": "user", "content": "x"}]}
    error = refuse(*on_rows(tmp_path, row, template))
    assert settings_of(error) == ["data.train.0.template"]
    assert what in error.what
    assert remedy in (error.remedy or "")


def test_braces_around_another_word_are_text(check: Check, tmp_path: Path) -> None:
    loaded = check(*on_rows(tmp_path, {"q": "a", "r": "b"}, {"prompt": "Fill in {{name}}: {q}", "completion": "{r}"}))
    assert loaded.recipe.data.train[0].template == {"prompt": "Fill in {{name}}: {q}", "completion": "{r}"}


def test_doubled_braces_are_seen_without_rows_too(refuse: Refuse) -> None:
    error = refuse("data={train: [{path: user/data, template: {prompt: '{{q}}', completion: '{{a}}'}}]}")
    assert "doubled braces insert no field" in error.what


def test_a_field_that_some_rows_lack_is_empty_there() -> None:
    assert fill_template({"text": "{a}{b}"}, {"a": "x"}) == {"text": "x"}


def test_a_condition_names_a_field_like_any_other(refuse: Refuse, tmp_path: Path) -> None:
    template = {"prompt": "{q}{#inptu}\n{inptu}{/inptu}\n{sytem?}", "completion": "{r}"}
    error = refuse(*on_rows(tmp_path, {"q": "a", "r": "b", "input": ""}, template))
    assert "has no field `inptu` and `sytem`" in error.what


def test_a_column_of_turns_can_have_another_name(check: Check, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    loaded = check(*on_rows(tmp_path, {"talk": turns}, {"messages": "{talk}"}))
    assert loaded.sources[0][0].format == "messages"
    assert fill_template({"messages": "{talk}"}, {"talk": turns}) == {"messages": turns}
