"""Reasoning and chat templates: many templates drop the reasoning of past answers.

That is right in a conversation, but would remove what is to be trained on: `tokenize_with_reasoning` keeps it.
"""

from collections.abc import Mapping
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from runner.recipe.formats.layouts import Row
from runner.recipe.formats.reasoning import ANSWER

_PLACEHOLDER = "\ue000answer\ue000"


def template_keeps_reasoning(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the chat template writes the reasoning of a conversation's last answer, right after the prompt."""
    prompt = [{"role": "user", "content": "Why?"}]
    answer = ANSWER.format(reasoning="Because of this.", answer="that")
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
        given = row.get("chat_template_kwargs") or {}
        *between, answer = row["completion"]
        messages += between
        rendered = _render(tokenizer, [*messages, {**answer, "content": _PLACEHOLDER}], tools=tools, **given)
        before, _, after = rendered.partition(_PLACEHOLDER)
        prefix = _render(tokenizer, messages, tools=tools, add_generation_prompt=True, **given)
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
