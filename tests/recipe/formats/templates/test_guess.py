"""Columns that fit no format are taken by their names, or a template is proposed that works."""

import json
from pathlib import Path
from typing import Any

import pytest

from runner.recipe.formats.templates.guess import guess_template, in_yaml
from runner.recipe.loading.strict_yaml import parse_value
from support.recipes import Check, Refuse

USER, GOOD, BAD = (
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": "good"},
    {"role": "assistant", "content": "bad"},
)


def asked(text: str, *answers: str, system: str | None = None) -> dict[str, Any]:
    first = [] if system is None else [{"role": "system", "content": system}]
    names = ("completion",) if len(answers) == 1 else ("chosen", "rejected")
    made = {name: [{"role": "assistant", "content": answer}] for name, answer in zip(names, answers, strict=False)}
    return {"prompt": [*first, {"role": "user", "content": text}], **made}


@pytest.mark.parametrize(
    ("method", "row", "template"),
    [
        ("sft", {"question": "a", "answer": "b"}, asked("{question}", "{answer}")),
        ("sft", {"instruction": "a", "response": "b"}, asked("{instruction}", "{response}")),
        ("sft", {"instruction": "a", "input": "", "response": "b"}, asked("{instruction}\n{input?}", "{response}")),
        ("sft", {"input": "a", "output": "b"}, asked("{input}", "{output}")),
        ("sft", {"article": "a", "summary": "b", "id": "c"}, asked("{article}", "{summary}")),
        ("sft", {"prompt": "a", "generation": "b"}, asked("{prompt}", "{generation}")),
        ("sft", {"Question": "a", "Response": "b"}, asked("{Question}", "{Response}")),
        ("sft", {"problem": "a", "generated_solution": "b"}, asked("{problem}", "{generated_solution}")),
        (
            "sft",
            {"system_prompt": "s", "question": "a", "response": "b"},
            asked("{question}", "{response}", system="{system_prompt}"),
        ),
        ("sft", {"question": "a", "answer": 4}, asked("{question}", "{answer}")),
        ("sft", {"conversation": [USER, GOOD], "score": 1}, {"messages": "{conversation}"}),
        ("sft", {"question": "a", "choices": ["b", "c"], "answer": "b"}, None),
        ("sft", {"question": "a", "answer": "b", "summary": "c"}, None),
        ("sft", {"question": "a", "answers": {"text": ["b"]}}, None),
        ("grpo", {"question": "a", "answer": "b"}, asked("{question}")),
        ("cpt", {"content": "a", "path": "b"}, {"text": "{content}"}),
        ("cpt", {"content": "a", "body": "b"}, None),
        ("dpo", {"question": "a", "chosen": "b", "rejected": "c"}, asked("{question}", "{chosen}", "{rejected}")),
        (
            "dpo",
            {"system": "s", "instruction": "a", "chosen_response": "b", "rejected_response": "c"},
            asked("{instruction}", "{chosen_response}", "{rejected_response}", system="{system}"),
        ),
        (
            "dpo",
            {"chosen_conversations": [USER, GOOD], "rejected_conversations": [USER, BAD]},
            {"chosen": "{chosen_conversations}", "rejected": "{rejected_conversations}"},
        ),
    ],
)
def test_only_names_that_tell_are_taken(method: Any, row: dict[str, Any], template: dict[str, Any] | None) -> None:
    assert guess_template(row, method, as_turns=True) == template
    if template is not None:
        assert parse_value(in_yaml(template), name="x") == template, "what is said can be written into the recipe"


def rows(folder: Path, row: dict[str, Any]) -> str:
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n")
    return "data.train=[{path: rows.jsonl}]"


def test_what_was_taken_is_said_and_is_what_a_template_replaces(check: Check, tmp_path: Path) -> None:
    entry = rows(tmp_path, {"question": "a", "answer": "b"})
    [note] = check(entry).notes
    assert '`template: {prompt: [{role: user, content: "{question}"}]' in note
    assert check("data.train=[{path: rows.jsonl, template: {text: '{question}{answer}'}}]").notes == ()


@pytest.mark.parametrize(
    ("method", "row"),
    [
        ("sft", {"question": "a", "choices": ["b"], "answer": 1}),
        ("sft", {"title": "a", "plot": "b", "year": 1999}),
        ("sft", {"page": "a"}),
        ("cpt", {"page": "a", "id": 3}),
        ("dpo", {"title": "a", "plot": "b", "other": "c"}),
        ("grpo", {"page": "a"}),
    ],
)
def test_the_template_that_is_proposed_works(
    check: Check, refuse: Refuse, tmp_path: Path, method: str, row: dict[str, Any]
) -> None:
    entry = rows(tmp_path, row)
    rewards = ("training.reward_funcs=[builtin:answer-format]",) if method == "grpo" else ()
    remedy = refuse(f"method={method}", entry, *rewards).remedy or ""
    proposed = remedy.partition("`template: ")[2].partition("`")[0]
    template = f"data.train=[{{path: rows.jsonl, template: {proposed}}}]"
    check(f"method={method}", template, *rewards)
