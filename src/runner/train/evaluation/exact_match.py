"""Exact match: how many evaluation rows a model answers rightly, by their final answers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from runner.recipe.recipe import ExactMatch
from runner.train.evaluation.answers import final_answer, marked_answer, same_answer
from runner.train.evaluation.measure import Prompt, generate

ANSWER = "exact_match_answer"
"""The column in which right answers travel beside a mixture's own columns."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One evaluation row whose answer can be checked."""

    prompt: Prompt
    """What is asked, a text or messages."""
    answer: str
    """The right answer."""


def questions(rows: Iterable[Mapping[str, Any]], settings: ExactMatch) -> tuple[Question, ...]:
    """The first `max_samples` rows whose right answer can be made out.

    Args:
        rows: evaluation rows in one of the layouts of `runner.train.data.formats`, with the column `ANSWER` where the
            recipe names a column.
        settings: the recipe's.
    """
    found: list[Question] = []
    for row in rows:
        if settings.max_samples is not None and len(found) == settings.max_samples:
            break
        prompt, answer = _asked(row)
        if prompt and answer:
            found.append(Question(prompt=prompt, answer=answer))
    return tuple(found)


def exact_match(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    asked: Sequence[Question],
    *,
    max_new_tokens: int,
    batch_size: int,
) -> dict[str, float]:
    """Answer each question greedily and compare; the model stays as it is.

    Args:
        model: any causal language model.
        tokenizer: its tokenizer.
        asked: at least one question.
        max_new_tokens: the length at which an answer is cut off.
        batch_size: questions that are answered at a time.

    Returns:
        ``exact_match``, the share of right answers from 0 to 1, and ``exact_match_samples``, how many were asked.
    """
    texts = generate(
        model,
        tokenizer,
        [question.prompt for question in asked],
        max_new_tokens=max_new_tokens,
        conversational=False,
        batch_size=batch_size,
    )
    right = sum(
        same_answer(final_answer(text) or text, question.answer) for question, text in zip(asked, texts, strict=True)
    )
    return {"exact_match": right / len(asked), "exact_match_samples": len(asked)}


def _asked(row: Mapping[str, Any]) -> tuple[Prompt | None, str | None]:
    """A row's prompt and right answer, each None where there is none."""
    if "messages" in row:
        turns = row["messages"]
        last = max((index for index, turn in enumerate(turns) if turn["role"] == "assistant"), default=0)
        prompt, completion = turns[:last], _content(turns[last : last + 1])
    else:
        prompt = row.get("prompt")
        completion = _content(row.get("completion") or row.get("chosen") or "")
    if ANSWER in row:
        said = str(row[ANSWER] if row[ANSWER] is not None else "").strip()
        return prompt, marked_answer(said) or said
    return prompt, final_answer(completion)


def _content(written: Any) -> str:
    if isinstance(written, str):
        return written
    return "".join(str(turn.get("content") or "") for turn in written)
