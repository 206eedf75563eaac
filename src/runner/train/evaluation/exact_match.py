"""Exact match: the share of evaluation rows whose final answer a model gives."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from runner.recipe.recipe import ExactMatch
from runner.train.evaluation.answers import final_answer, marked_answer, same_answer
from runner.train.evaluation.measure import Prompt, generate

ANSWER = "exact_match_answer"
"""The column of a mixture that holds the right answers, beside its own columns."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One evaluation row whose answer can be checked."""

    prompt: Prompt
    """The prompt, a text or messages."""
    answer: str
    """The right answer."""


def find_questions(rows: Iterable[Mapping[str, Any]], settings: ExactMatch) -> tuple[Question, ...]:
    """Return the first `max_samples` rows that have a right answer.

    Args:
        rows: evaluation rows in one of the layouts of `runner.recipe.formats.layouts`, with the column `ANSWER` where
            the recipe names a column.
        settings: `evaluate.exact_match` of the recipe.
    """
    questions: list[Question] = []
    for row in rows:
        if settings.max_samples is not None and len(questions) == settings.max_samples:
            break
        prompt, answer = _prompt_and_answer(row)
        if prompt and answer:
            questions.append(Question(prompt=prompt, answer=answer))
    return tuple(questions)


def exact_match(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    *,
    max_new_tokens: int,
    batch_size: int,
) -> dict[str, float]:
    """Answer each question greedily and compare; the model stays as it is.

    Args:
        questions: at least one.
        max_new_tokens: the length at which an answer is cut off.
        batch_size: questions that are answered at a time.

    Returns:
        ``exact_match``, the share of right answers from 0 to 1, and ``exact_match_samples``, how many were asked.
    """
    texts = generate(
        model,
        tokenizer,
        [question.prompt for question in questions],
        max_new_tokens=max_new_tokens,
        conversational=False,
        batch_size=batch_size,
    )
    right = sum(
        same_answer(final_answer(text) or text, question.answer)
        for question, text in zip(questions, texts, strict=True)
    )
    return {"exact_match": right / len(questions), "exact_match_samples": len(questions)}


def _prompt_and_answer(row: Mapping[str, Any]) -> tuple[Prompt | None, str | None]:
    """Return a row's prompt and right answer, each None if the row has none."""
    if "messages" in row:
        turns = row["messages"]
        last = max((index for index, turn in enumerate(turns) if turn["role"] == "assistant"), default=0)
        prompt, completion = turns[:last], _content(turns[last : last + 1])
    else:
        prompt = row.get("prompt")
        completion = _content(row.get("completion") or row.get("chosen") or "")
    if ANSWER in row:
        answer = str(row[ANSWER] if row[ANSWER] is not None else "").strip()
        return prompt, marked_answer(answer) or answer
    return prompt, final_answer(completion)


def _content(text_or_messages: Any) -> str:
    if isinstance(text_or_messages, str):
        return text_or_messages
    return "".join(str(message.get("content") or "") for message in text_or_messages)
