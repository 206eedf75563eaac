"""What a training is made from is known by its contents, however they lie in memory or on the disk."""

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, concatenate_datasets

from runner.train.agent.preemption import CannotResumeHere
from runner.train.checkpointing.fingerprint import check_fingerprint, fingerprint

ROWS = [{"messages": [{"role": "user", "content": f"What is {n}?"}], "label": None if n % 2 else n} for n in range(30)]


class Words:
    """A tokenizer, as far as it counts."""

    def __init__(self, *words: str, chat_template: str | None = None) -> None:
        self._words = {word: number for number, word in enumerate(words)}
        self.chat_template = chat_template

    def get_vocab(self) -> dict[str, int]:
        return dict(self._words)


def digest(rows: Dataset, tokenizer: Any = None) -> dict[str, str]:
    return fingerprint(rows, tokenizer or Words("a", "b"))


def test_the_same_rows_are_the_same() -> None:
    whole = Dataset.from_list(ROWS)
    backwards = Dataset.from_list(ROWS[::-1])
    assert digest(whole) == digest(concatenate_datasets([whole.select(range(7)), whole.select(range(7, 30))]))
    assert digest(whole) == digest(backwards.select(range(29, -1, -1)))
    assert digest(whole) != digest(backwards), "their order counts"


@pytest.mark.parametrize("change", [{"label": 5}, {"messages": [{"role": "user", "content": "What is 1 ?"}]}])
def test_one_value_more_or_less_makes_other_rows(change: dict[str, Any]) -> None:
    other = [dict(row) for row in ROWS]
    other[1].update(change)
    rows, changed = digest(Dataset.from_list(ROWS)), digest(Dataset.from_list(other))
    assert rows["rows"] != changed["rows"]
    assert rows["vocabulary"] == changed["vocabulary"]


@pytest.mark.parametrize("other", [Words("b", "a"), Words("a"), Words("a", "b", chat_template="{{ messages }}")])
def test_other_words_are_told(other: Words) -> None:
    rows = Dataset.from_list(ROWS)
    assert digest(rows)["vocabulary"] != digest(rows, other)["vocabulary"]


def test_a_checkpoint_is_gone_on_from_with_what_it_was_made_from_only(tmp_path: Path) -> None:
    """One from before this was written down is taken."""
    now = digest(Dataset.from_list(ROWS))
    state: dict[str, Any] = {"step": 8, "made_from": now}
    (tmp_path / "runner_state.json").write_text(json.dumps(state))
    check_fingerprint(tmp_path, now)
    with pytest.raises(CannotResumeHere, match=r"the training rows are not those of the checkpoint \(step 8\)"):
        check_fingerprint(tmp_path, {**now, "rows": "other"})
    with pytest.raises(CannotResumeHere, match="the training rows and the tokenizer's words are not"):
        check_fingerprint(tmp_path, {"rows": "other", "vocabulary": "other"})
    del state["made_from"]
    (tmp_path / "runner_state.json").write_text(json.dumps(state))
    check_fingerprint(tmp_path, {**now, "rows": "other"})
