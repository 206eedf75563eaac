"""Answers with reasoning: in ``<think>`` tags, with "Final Answer:" after it.

Reasoning models (DeepSeek-R1, Qwen3) write this way, and their chat templates know the tags. Many of these templates
drop the reasoning of past answers, which is right in a conversation but would remove what is to be trained on:
`tokenize_with_reasoning` keeps it.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from runner.recipe.inputs.template import fill_template
from runner.train.data.formats import Row, UnusableRow

_ANSWER = "<think>\n{reasoning}\n</think>\n\nFinal Answer: {answer}"
_BOXED = re.compile(r"\\boxed\s*\{")
# GSM8K's mark, and two common ways to end a solution, "the answer is therefore 5" included.
_CONCLUSION = re.compile(
    r"####\s*(?P<marked>[^\n]+)|\b(?:final\s+)?answer(?:\s+is(?:\s+therefore)?\b\s*:?|\s*:)\s*(?P<stated>[^\n]+)",
    re.IGNORECASE,
)
_PLACEHOLDER = "\ue000answer\ue000"


def from_fields(texts: Mapping[str, str]) -> Callable[[Mapping[str, Any]], Row]:
    """Return a function that makes question and answer, as messages, of a row; it raises `UnusableRow` without a part.

    Args:
        texts: ``prompt``, ``reasoning`` and perhaps ``answer``, each with ``{field}`` for the fields of a row.
    """

    def convert(row: Mapping[str, Any]) -> Row:
        parts = fill_template(texts, row)
        prompt = parts["prompt"].strip()
        if not prompt:
            raise UnusableRow("without a prompt")
        if "answer" in parts and not parts["answer"].strip():
            raise UnusableRow("without a final answer")
        return _pair([{"role": "user", "content": prompt}], parts["reasoning"], parts.get("answer"), None)

    return convert


def from_conversation(convert: Callable[[Mapping[str, Any]], Row]) -> Callable[[Mapping[str, Any]], Row]:
    """Return a function that splits a conversation before its last answer, and brings that answer to our form.

    Args:
        convert: makes a conversation of a row.
    """

    def split(row: Mapping[str, Any]) -> Row:
        conversation = convert(row)
        messages = conversation["messages"]
        last = max(index for index, message in enumerate(messages) if message["role"] == "assistant")
        content = str(messages[last]["content"])
        prompt = messages[:last]
        if not prompt:
            raise UnusableRow("without a prompt")
        if "</think>" not in content:
            return _pair(prompt, content, None, conversation["tools"])
        reasoning, _, answer = content.rpartition("</think>")
        reasoning = reasoning.replace("<think>", "")
        return _pair(prompt, reasoning, concluding_answer(answer) or answer, conversation["tools"])

    return split


def _pair(prompt: list[Row], reasoning: str, answer: str | None, tools: Any) -> Row:
    reasoning = reasoning.strip()
    if not reasoning:
        raise UnusableRow("without reasoning")
    answer = (concluding_answer(reasoning) if answer is None else answer) or ""
    if not answer.strip():
        raise UnusableRow("without a final answer")
    content = _ANSWER.format(reasoning=reasoning, answer=answer.strip())
    return {"prompt": prompt, "completion": [{"role": "assistant", "content": content}], "tools": tools}


def concluding_answer(text: str) -> str | None:
    r"""Return the answer of a solution: the last ``\boxed{…}``, else what follows the last ``####`` or "the answer is".

    None if it has neither. The model is trained on it, so it ends with its sentence. `runner.train.evaluation.answers`,
    which compares answers, accepts more forms.
    """
    boxes = list(_BOXED.finditer(text))
    if boxes:
        inner = _before_closing_brace(text[boxes[-1].end() :])
        if inner:
            return inner
    conclusions = [match["marked"] or match["stated"] for match in _CONCLUSION.finditer(text)]
    answer = conclusions[-1].strip().strip("*").strip() if conclusions else ""
    return re.split(r"\.(?=\s|$)", answer, maxsplit=1)[0].strip(" $*") or None


def _before_closing_brace(text: str) -> str | None:
    depth = 1
    for index, letter in enumerate(text):
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if depth == 0:
            return text[:index].strip() or None
    return None


def template_keeps_reasoning(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the chat template writes the reasoning of a conversation's last answer, right after the prompt."""
    prompt = [{"role": "user", "content": "Why?"}]
    answer = _ANSWER.format(reasoning="Because of this.", answer="that")
    rendered = _render(tokenizer, [*prompt, {"role": "assistant", "content": answer}])
    prefix = _render(tokenizer, prompt, add_generation_prompt=True)
    return answer in rendered and rendered.startswith(prefix)


def tokenize_with_reasoning(dataset: Dataset, tokenizer: PreTrainedTokenizerBase, *, loss_on_prompt: bool) -> Dataset:
    """Tokenize pairs of messages by the chat template, with the answer as it is in the data.

    The template renders a placeholder for the answer, which is then replaced. What the template puts before a generated
    answer (for example ``<think>`` and a line break) belongs to the prompt, as in generation.

    Args:
        dataset: columns ``prompt`` and ``completion``, lists of messages, and perhaps ``tools``.
        tokenizer: the model's.
        loss_on_prompt: whether the prompt is trained on as well.

    Returns:
        ``input_ids`` and ``labels``, as TRL would make them of the pairs: -100 for what is not trained on.
    """

    def tokenize(row: Mapping[str, Any]) -> dict[str, list[int]]:
        messages, tools = list(row["prompt"]), row.get("tools")
        *between, answer = row["completion"]
        messages += between
        rendered = _render(tokenizer, [*messages, {**answer, "content": _PLACEHOLDER}], tools=tools)
        before, _, after = rendered.partition(_PLACEHOLDER)
        prefix = _render(tokenizer, messages, tools=tools, add_generation_prompt=True)
        content = str(answer["content"])
        opening = prefix.removeprefix(before)
        if prefix.startswith(before) and content.startswith(opening):
            before, content = prefix, content.removeprefix(opening)
        # A template writes the special tokens itself.
        prompt = tokenizer(before, add_special_tokens=False)["input_ids"]
        completion = tokenizer(content + after, add_special_tokens=False)["input_ids"]
        prompt_labels = prompt if loss_on_prompt else [-100] * len(prompt)
        return {"input_ids": prompt + completion, "labels": prompt_labels + completion}

    return dataset.map(
        tokenize, remove_columns=dataset.column_names, load_from_cache_file=False, desc="Writing out the reasoning"
    )


def _render(tokenizer: PreTrainedTokenizerBase, messages: list[Row], **arguments: Any) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, **arguments))
