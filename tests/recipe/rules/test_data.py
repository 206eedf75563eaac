"""What an entry's `filter` and `think` name is looked for before anything is launched."""

from pathlib import Path

import pytest

from support.recipes import Check, Refuse, settings_of

ROWS = '{"question": "3 + 4?", "solution": "Count on.", "number": 7, "split": "train"}\n'
FIELDS = "{prompt: '{question}', reasoning: '{solution}', answer: '{number}'}"


def entry(tmp_path: Path, rest: str, rows: str = ROWS) -> str:
    (tmp_path / "rows.jsonl").write_text(rows)
    return f"data.train=[{{path: rows.jsonl, {rest}}}]"


def test_they_are_kept_as_they_are_written(check: Check, tmp_path: Path) -> None:
    [source] = check(
        entry(tmp_path, f"think: {FIELDS}, filter: {{split: [train, dev], number: 7}}"),
        "training.completion_only_loss=true",
    ).recipe.data.train
    assert source.filter == {"split": ["train", "dev"], "number": 7}
    assert source.think == {"prompt": "{question}", "reasoning": "{solution}", "answer": "{number}"}
    hub = "data.train=[{path: someone/chats, think: true, filter: {lang: en}}]"
    assert check(hub, "training.completion_only_loss=true").recipe.data.train[0].think is True


@pytest.mark.parametrize(
    ("rest", "setting", "words"),
    [
        ("filter: {language: en}", "filter", "has no field `language`"),
        ("filter: {}", "filter", "at least one entry"),
        ("filter: {split: {not: train}}", "filter.split", "expected"),
        ("think: {prompt: '{question}', reasoning: '{thoughts}'}", "think", "has no field `thoughts`"),
        ("think: {prompt: '{question}'}", "think", "`reasoning` is missing"),
        ("think: {prompt: '{question', reasoning: '{solution}'}", "think", "is unmatched"),
        (f"think: {FIELDS}, format: alpaca", "format", "`think` says how rows are read"),
        (f"think: {FIELDS}, template: {{text: '{{question}}'}}", "template", "`think` says how rows are read"),
        ("think: true, format: text", "format", "no conversations"),
        ("think: true, template: {text: '{question}'}", "think", "holds no conversations (text)"),
    ],
)
def test_what_does_not_fit_is_said(refuse: Refuse, tmp_path: Path, rest: str, setting: str, words: str) -> None:
    error = refuse(entry(tmp_path, rest))
    assert settings_of(error) == [f"data.train.0.{setting}"], error
    assert words in str(error)


def test_only_supervised_fine_tuning_thinks(refuse: Refuse, tmp_path: Path) -> None:
    error = refuse(entry(tmp_path, f"think: {FIELDS}"), "method=cpt")
    assert "data.train.0.think" in settings_of(error)
