"""Answers that think first: reasoning in ``<think>`` tags, and "Final Answer:" after it.

Models that reason (DeepSeek-R1, Qwen3) write so, and their chat templates know the tags. Many of these templates drop
the reasoning of past answers, which is right in a conversation and would empty what is trained on:
`tokenize_with_reasoning` keeps the reasoning.
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
# GSM8K's mark, and the two ways in which people end a solution. "the answer is therefore 5" counts.
_SAID = re.compile(
    r"####\s*(?P<marked>[^\n]+)|\b(?:final\s+)?answer(?:\s+is(?:\s+therefore)?\b\s*:?|\s*:)\s*(?P<said>[^\n]+)",
    re.IGNORECASE,
)
_STAND_IN = "\ue000answer\ue000"


def from_fields(texts: Mapping[str, str]) -> Callable[[Mapping[str, Any]], Row]:
    """A function from a row to a question and its answer, in messages; it raises `UnusableRow` where a part is missing.

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
    """A function that splits a conversation before its last answer, and has that answer think.

    Args:
        convert: makes a conversation of a row.
    """

    def think(row: Mapping[str, Any]) -> Row:
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

    return think


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
    r"""What a solution ends in: the last ``\boxed{…}``, else what follows the last ``####`` or "the answer is".

    None if it has neither. The model is trained on it, so it ends with its sentence. `runner.train.evaluation.answers`,
    which compares answers, accepts more forms.
    """
    boxes = list(_BOXED.finditer(text))
    if boxes:
        inner = _until_closed(text[boxes[-1].end() :])
        if inner:
            return inner
    said = [match["marked"] or match["said"] for match in _SAID.finditer(text)]
    answer = said[-1].strip().strip("*").strip() if said else ""
    return re.split(r"\.(?=\s|$)", answer, maxsplit=1)[0].strip(" $*") or None


def _until_closed(text: str) -> str | None:
    depth = 1
    for place, letter in enumerate(text):
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if depth == 0:
            return text[:place].strip() or None
    return None


def template_keeps_reasoning(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the chat template shows the reasoning of a conversation's last answer, right after the prompt."""
    prompt = [{"role": "user", "content": "Why?"}]
    answer = _ANSWER.format(reasoning="Because of this.", answer="that")
    whole = _text(tokenizer, [*prompt, {"role": "assistant", "content": answer}])
    begun = _text(tokenizer, prompt, add_generation_prompt=True)
    return answer in whole and whole.startswith(begun)


def tokenize_with_reasoning(dataset: Dataset, tokenizer: PreTrainedTokenizerBase, *, loss_on_prompt: bool) -> Dataset:
    """Pairs of messages as tokens, in the words of the chat template around the answer as it stands.

    A template is asked to show a stand-in for the answer, which then makes room for it. What the template begins an
    answer with when it generates (``<think>`` and a line break, for one) belongs to the prompt, as it does then.

    Args:
        dataset: columns ``prompt`` and ``completion``, lists of messages, and perhaps ``tools``.
        tokenizer: whose template.
        loss_on_prompt: whether the prompt is trained on as well.

    Returns:
        ``input_ids`` and ``labels``, as TRL would make them of the pairs: -100 for what is not trained on.
    """

    def render(row: Mapping[str, Any]) -> dict[str, list[int]]:
        messages, tools = list(row["prompt"]), row.get("tools")
        *between, answer = row["completion"]
        messages += between
        whole = _text(tokenizer, [*messages, {**answer, "content": _STAND_IN}], tools=tools)
        before, _, after = whole.partition(_STAND_IN)
        begun = _text(tokenizer, messages, tools=tools, add_generation_prompt=True)
        content = str(answer["content"])
        opening = begun.removeprefix(before)
        if begun.startswith(before) and content.startswith(opening):
            before, content = begun, content.removeprefix(opening)
        # A template writes the special tokens itself.
        prompt = tokenizer(before, add_special_tokens=False)["input_ids"]
        completion = tokenizer(content + after, add_special_tokens=False)["input_ids"]
        unseen = prompt if loss_on_prompt else [-100] * len(prompt)
        return {"input_ids": prompt + completion, "labels": unseen + completion}

    return dataset.map(
        render, remove_columns=dataset.column_names, load_from_cache_file=False, desc="Writing out the reasoning"
    )


def _text(tokenizer: PreTrainedTokenizerBase, messages: list[Row], **arguments: Any) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, **arguments))
