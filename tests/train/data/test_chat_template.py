"""Rows that a chat template refuses are dropped and counted, and calls get the form that the template writes."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from runner.errors import UserError
from runner.recipe.recipe import Data, DataSource, Evaluate, ExactMatch, Method, Recipe
from runner.train.builtin.catalog import materialize
from runner.train.data.chat_template import fit_to_template
from runner.train.data.mixture import TrainingData, load_data

USER, GOOD = {"role": "user", "content": "q"}, {"role": "assistant", "content": "Final Answer: 3"}
FINE = {"messages": [USER, GOOD]}
TWICE = {"messages": [USER, USER, GOOD]}
SYSTEM = {"messages": [{"role": "system", "content": "s"}, USER, GOOD]}
ALTERNATING = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
)
PLAIN = "{% for m in messages %}{{ m.role }}: {{ m.content }}%s\n{% endfor %}"
CALLS = "{% for c in m.tool_calls or [] %}{{ c.function.name }} {% endfor %}"
AS_JSON = PLAIN.replace("%s", CALLS.replace("name }}", "name }} {{ c.function.arguments | tojson }}"))
AS_TEXT = PLAIN.replace("%s", CALLS.replace("name }}", "name + c.function.arguments }}"))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(materialize("builtin:tiny-llama", tmp_path_factory.mktemp("cache")))


def load(folder: Path, *rows: dict[str, Any], method: Method = "sft", **settings: Any) -> TrainingData:
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) + "\n" for row in rows))  # with blank lines between
    source = DataSource(path=str(folder / "rows.jsonl"), **settings)
    evaluate = Evaluate(before_and_after=True, exact_match=ExactMatch())
    held_out = 2 if len(rows) > 6 else None
    data = Data(train=(source,), eval_from_train=held_out)
    return load_data(Recipe(name="t", method=method, model={}, data=data, evaluate=evaluate), inputs=Path)


def fit(data: TrainingData, tokenizer: PreTrainedTokenizerBase, template: str, **training: Any) -> TrainingData:
    tokenizer.chat_template = template
    return fit_to_template(data, tokenizer, training)


def test_refused_rows_are_dropped_named_and_counted(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """By their lines in the file, which has blank ones; the others are the same rows in the same order."""
    data = load(tmp_path, FINE, {**FINE, "id": 1}, TWICE, SYSTEM, TWICE)
    fitted = fit(data, tokenizer, ALTERNATING)
    assert list(fitted.train) == [row for row in data.train if row["messages"] == FINE["messages"]]
    assert fitted.notes[-1] == (
        "data.train.0: dropped 3 of 5 rows (2 that the chat template refuses: Roles must alternate, "
        "1 that the chat template refuses: System role not supported; the first: line 5)."
    )
    assert [(record["rows"], record["of"], record["first"]) for record in fitted.dropped] in (
        [(2, 5, 5), (1, 5, 7)],
        [(1, 5, 7), (2, 5, 5)],
    )


def test_rows_keep_their_numbers_behind_filter_and_sample(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    rows = [{**(TWICE if n == 5 else FINE), "lang": "en" if n % 2 else "de"} for n in range(6)]
    fitted = fit(load(tmp_path, *rows, filter={"lang": "en"}), tokenizer, ALTERNATING)
    assert "the first: line 11)" in fitted.notes[-1]
    assert [record["of"] for record in fitted.dropped] == [3]


def test_evaluation_rows_and_questions_are_dropped_too(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    data = load(tmp_path, *([FINE] * 5), *([TWICE] * 5))
    assert len(data.questions) == 2
    refused = sum(len(row["messages"]) == 3 for row in data.eval or ())
    fitted = fit(data, tokenizer, ALTERNATING)
    assert fitted.eval is not None
    assert len(fitted.eval) == len(fitted.questions) == 2 - refused
    assert len(fitted.train) + len(fitted.eval) == 5


def test_a_template_that_refuses_every_row_is_a_mistake(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(UserError, match=r"data\.train\.0: no row can be used: 2 that .* refuses: Roles must alternate"):
        fit(load(tmp_path, TWICE, TWICE), tokenizer, ALTERNATING)


def test_accepted_rows_are_left_as_they_are(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    data = load(tmp_path, FINE, FINE)
    fitted = fit(data, tokenizer, ALTERNATING)
    assert fitted.train is data.train
    assert (fitted.notes, fitted.dropped) == (data.notes, ())


@pytest.mark.parametrize(
    ("method", "good", "bad"),
    [
        ("dpo", {"prompt": [USER], "chosen": [GOOD], "rejected": [{**GOOD, "content": "x"}]}, [USER, USER]),
        ("grpo", {"prompt": [USER], "answer": "3"}, [USER, USER]),
        ("sft", {"prompt": [USER], "completion": [GOOD]}, [USER, USER]),
    ],
)
def test_prompts_of_each_method_are_tried(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, method: Method, good: dict[str, Any], bad: list[dict[str, Any]]
) -> None:
    data = load(tmp_path, good, {**good, "prompt": bad}, method=method)
    assert len(fit(data, tokenizer, ALTERNATING).train) == 1


def test_a_model_without_a_template_cannot_train_on_turns(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer.chat_template = None
    with pytest.raises(UserError, match=r"training\.chat_template_path: .* no chat template"):
        fit_to_template(load(tmp_path, FINE), tokenizer, {})
    (tmp_path / "t.jinja").write_text(ALTERNATING)
    data = load(tmp_path, FINE, TWICE)
    assert len(fit_to_template(data, tokenizer, {"chat_template_path": str(tmp_path / "t.jinja")}).train) == 1
    assert fit_to_template(data, tokenizer, {"chat_template_path": "other/model"}) is data


@pytest.mark.parametrize(("template", "form"), [(AS_JSON, {"city": "Oslo"}), (AS_TEXT, '{"city": "Oslo"}')])
def test_arguments_get_the_form_that_the_template_writes(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, template: str, form: Any
) -> None:
    """DeepSeek's template puts text together, most others write JSON themselves."""
    for arguments in ({"city": "Oslo"}, '{"city": "Oslo"}'):
        call = {"type": "function", "function": {"name": "get", "arguments": arguments}}
        row = {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [call]}, GOOD]}
        fitted = fit(load(tmp_path, row), tokenizer, template)
        assert fitted.train[0]["messages"][1]["tool_calls"][0]["function"]["arguments"] == form
        text = tokenizer.apply_chat_template(fitted.train[0]["messages"], tokenize=False)
        assert '{"city": "Oslo"}' in text
        assert "\\" not in text


def test_the_arguments_of_a_row_reach_its_template(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """TRL hands them to the template; rows without them have none."""
    template = "{% if strict %}{{ raise_exception('no') }}{% endif %}" + PLAIN.replace("%s", "")
    data = load(tmp_path, {**FINE, "chat_template_kwargs": {"strict": True}}, FINE)
    assert sorted(row["chat_template_kwargs"] == {} for row in data.train) == [False, True]
    assert [row["chat_template_kwargs"] for row in fit(data, tokenizer, template).train] == [{}]
