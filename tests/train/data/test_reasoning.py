"""Answers that think: what they are made of, and that no chat template takes their reasoning away."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from runner.errors import UserError
from runner.recipe.formats.layouts import RowLayout
from runner.recipe.formats.reasoning import concluding_answer
from runner.recipe.recipe import Data, DataSource, Recipe
from runner.train.builtin.catalog import materialize
from runner.train.data.mixture import TrainingData, load_data
from runner.train.data.reasoning import template_keeps_reasoning
from runner.train.methods.sft import keep_reasoning

THINK = {"prompt": "{problem}", "reasoning": "{solution}", "answer": "{number}"}


def load(tmp_path: Path, *parts: tuple[list[dict[str, Any]], dict[str, Any]]) -> TrainingData:
    sources = []
    for index, (rows, settings) in enumerate(parts):
        path = tmp_path / f"{index}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        sources.append(DataSource(path=str(path), **settings))
    recipe = Recipe(name="t", method="sft", model={}, data=Data(train=tuple(sources)))
    return load_data(recipe, inputs=Path)


def pairs(data: TrainingData) -> list[tuple[str, str]]:
    return sorted((row["prompt"][-1]["content"], row["completion"][0]["content"]) for row in data.train)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"So it is \boxed{7}, not \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        ("3 + 4 = 7\n#### 7", "7"),
        ("The answer is 7. It was easy.", "7"),
        ("The answer is therefore $3.50$.", "3.50"),
        ("**Final Answer:** 1,000", "1,000"),
        ("answer: 12 m", "12 m"),
        ("The answers are many.", None),
        (r"\boxed{never closed", None),
        ("It answered him.", None),
    ],
)
def test_a_solution_ends_in_its_answer(text: str, answer: str | None) -> None:
    assert concluding_answer(text) == answer


def test_fields_become_a_question_and_an_answer_that_thinks(tmp_path: Path) -> None:
    rows = [
        {"problem": " What is 3 + 4? ", "solution": "I count on.\n", "number": 7.5},
        {"problem": "Why?", "solution": "", "number": 1},
        {"problem": "Why?", "solution": "Because.", "number": None},
    ]
    data = load(tmp_path, (rows, {"think": THINK}))
    assert data.layout is RowLayout.MESSAGE_PAIR
    assert pairs(data) == [("What is 3 + 4?", "<think>\nI count on.\n</think>\n\nFinal Answer: 7.5")]
    reasons = "1 without reasoning, 1 without a final answer; the first: line 2"
    assert data.notes == (f"data.train.0: dropped 2 of 3 rows ({reasons}).",)


def test_without_a_field_for_it_the_answer_is_what_the_reasoning_ends_in(tmp_path: Path) -> None:
    rows = [{"question": "3 + 4?", "answer": "3 and 4 more.\n#### 7"}, {"question": "?", "answer": "No idea."}]
    data = load(tmp_path, (rows, {"think": {"prompt": "{question}", "reasoning": "{answer}"}}))
    assert pairs(data) == [("3 + 4?", "<think>\n3 and 4 more.\n#### 7\n</think>\n\nFinal Answer: 7")]


def test_conversations_with_code_and_solutions_mix(tmp_path: Path) -> None:
    """The shapes of MathCodeInstruct and SciBench, as far as is known here."""
    parts = [
        {"type": "text", "content": "I compute it."},
        {"type": "code", "content": "print(3 + 4)"},
        {"type": "execution", "content": "7\n"},
        {"type": "text", "content": r"So \boxed{7}."},
    ]
    chat = [
        {"role": "system", "content": [{"type": "text", "content": "Solve."}]},
        {"role": "user", "content": [{"type": "text", "content": "3 + 4?"}]},
        {"role": "assistant", "content": parts},
    ]
    thought = [
        {"role": "user", "content": "5?"},
        {"role": "assistant", "content": "<think>\nEasy.\n</think>\n\nFinal Answer: 5"},
    ]
    solved = {"problem": "8?", "solution": "Eight.", "number": "8"}
    data = load(
        tmp_path,
        ([{"messages": chat}], {"think": True}),
        ([{"messages": thought}], {"think": True}),
        ([solved], {"think": THINK}),
    )
    code = "I compute it.\n```python\nprint(3 + 4)\n```\n\n```output\n7\n```\nSo \\boxed{7}."
    assert pairs(data) == [
        ("3 + 4?", f"<think>\n{code}\n</think>\n\nFinal Answer: 7"),
        ("5?", "<think>\nEasy.\n</think>\n\nFinal Answer: 5"),
        ("8?", "<think>\nEight.\n</think>\n\nFinal Answer: 8"),
    ]
    assert any(row["prompt"][0] == {"role": "system", "content": "Solve."} for row in data.train)
    with pytest.raises(UserError, match=r"data\.train\.1|data: data\.train\.1 holds conversations"):
        load(tmp_path, ([solved], {"think": THINK}), ([{"messages": thought}], {}))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    folder = tmp_path_factory.mktemp("cache")
    return AutoTokenizer.from_pretrained(materialize("builtin:tiny-llama", folder))


R1, QWEN = "deepseek_r1_distill", "qwen2_5"


def with_template(tokenizer: PreTrainedTokenizerBase, name: str) -> PreTrainedTokenizerBase:
    """The chat template that a family of models comes with; TRL keeps them word by word."""
    tokenizer.chat_template = files("trl").joinpath(f"chat_templates/{name}.jinja").read_text()
    return tokenizer


def test_a_template_that_drops_reasoning_is_known_by_what_it_shows(tokenizer: PreTrainedTokenizerBase) -> None:
    assert not template_keeps_reasoning(with_template(tokenizer, R1))
    assert template_keeps_reasoning(with_template(tokenizer, QWEN))


def test_what_is_trained_on_is_the_reasoning_as_the_model_is_asked_for_it(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    """DeepSeek-R1's template begins an answer with ``<think>`` when it generates, and shows none in an answer given."""
    data = load(tmp_path, ([{"problem": "3 + 4?", "solution": "Count on.", "number": "7"}], {"think": THINK}))
    tokenizer = with_template(tokenizer, R1)
    row = keep_reasoning(data, tokenizer, {}).train[0]
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "3 + 4?"}], add_generation_prompt=True, tokenize=True, return_dict=False
    )
    assert row["input_ids"][: len(prompt)] == prompt
    assert row["labels"][: len(prompt)] == [-100] * len(prompt)
    assert row["labels"][len(prompt) :] == row["input_ids"][len(prompt) :]
    learned = tokenizer.decode(row["input_ids"][len(prompt) :])
    assert learned.startswith("Count on.\n</think>\n\nFinal Answer: 7<")
    assert learned.endswith("end▁of▁sentence\uff5c>")
    whole = keep_reasoning(data, tokenizer, {"completion_only_loss": False}).train[0]
    assert whole["labels"] == whole["input_ids"] == row["input_ids"]


def test_where_the_template_keeps_reasoning_or_there_is_none_nothing_is_changed(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    data = load(tmp_path, ([{"problem": "3 + 4?", "solution": "Count on.", "number": "7"}], {"think": THINK}))
    assert keep_reasoning(data, with_template(tokenizer, QWEN), {}) is data
    plain = load(tmp_path, ([{"prompt": "3 + 4?", "completion": "7"}], {}))
    assert keep_reasoning(plain, with_template(tokenizer, R1), {}) is plain
