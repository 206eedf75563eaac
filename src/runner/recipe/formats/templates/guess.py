"""Templates for columns that fit no format: what they will be taken for, and what to propose where that is not clear.

Only names that say what they hold are taken, only one of each kind, and never beside columns that change what they
mean (choices to choose from). Everything that is taken is said, and an entry's `template` replaces it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from runner.recipe.formats.turns import is_turns
from runner.recipe.recipe import Json, Method

_QUESTIONS = (
    "instruction", "question", "query", "problem", "problem_statement", "prompt", "user", "human", "user_input",
    "user_message", "user_prompt", "input", "article", "document", "dialogue", "post",
)  # fmt: skip
_ANSWERS = (
    "response", "answer", "output", "completion", "solution", "generation", "generated_solution", "generated_answer",
    "reply", "assistant", "assistant_response", "bot", "model_answer", "target", "summary", "highlights", "tldr",
)  # fmt: skip
_CONTEXTS = ("input", "context", "passage")
_SYSTEMS = ("system", "system_prompt", "system_message")
_CHOSEN = ("chosen", "chosen_response", "chosen_conversations", "preferred", "preferred_output", "response_chosen")
_REJECTED = (
    "rejected", "rejected_response", "rejected_conversations", "dispreferred", "non_preferred_output",
    "response_rejected",
)  # fmt: skip
_CONVERSATIONS = ("conversation", "dialog", "dialogue", "chat", "turns", "message", "chat_messages")
_TEXTS = ("content", "body", "article", "document", "raw_content", "code", "story", "passage", "sentence")
_CHANGE_WHAT_IS_ASKED = ("choices", "options", "endings", "distractors", "candidates", "table")
"""Columns without which a question is another one."""


def guess_template(row: Mapping[str, Any], method: Method, *, as_turns: bool) -> dict[str, Json] | None:
    """Return the template that the names of a row's columns ask for; None if they leave a doubt.

    Args:
        row: the first row.
        method: what is trained.
        as_turns: whether the model has a chat template.
    """
    if method == "cpt":
        found = [column for column, value in row.items() if _plain(column) in _TEXTS and isinstance(value, str)]
        return {"text": f"{{{found[0]}}}"} if len(found) == 1 else None
    if method == "sft":
        turns = [column for column, value in row.items() if _plain(column) in _CONVERSATIONS and is_turns(value)]
        if len(turns) == 1:
            return {"messages": f"{{{turns[0]}}}"}
    if any(_plain(column) in _CHANGE_WHAT_IS_ASKED for column in row):
        return None
    system = _single(_named(row, _SYSTEMS))
    questions = _named(row, _QUESTIONS)
    context = None
    if len(questions) == 2 and _plain(questions[1]) == "input":
        questions, context = questions[:1], questions[1]
    context = context or _single([name for name in _named(row, _CONTEXTS) if name not in questions])
    if method == "sft":
        answer, question = _single(_named(row, _ANSWERS)), _single(questions)
        if question is None or answer is None:
            return None
        return _prompt(question, context, system, as_turns) | _answers({"completion": answer}, as_turns)
    if method == "grpo":
        question = _single([name for name in questions if name != "prompt"])
        return None if question is None else _prompt(question, context, system, as_turns)
    return _preference(row, _single(questions), context, system, as_turns)


def _preference(
    row: Mapping[str, Any], question: str | None, context: str | None, system: str | None, as_turns: bool
) -> dict[str, Json] | None:
    chosen, rejected = (_single(_named(row, names, turns=True)) for names in (_CHOSEN, _REJECTED))
    if chosen is None or rejected is None:
        return None
    if is_turns(row[chosen]) and is_turns(row[rejected]):
        answers: dict[str, Json] = {"chosen": f"{{{chosen}}}", "rejected": f"{{{rejected}}}"}
        return answers if question is None else _prompt(question, context, system, as_turns=True) | answers
    if not (isinstance(row[chosen], str) and isinstance(row[rejected], str)) or question is None:
        return None
    return _prompt(question, context, system, as_turns) | _answers({"chosen": chosen, "rejected": rejected}, as_turns)


def propose_template(row: Mapping[str, Any], method: Method) -> str:
    """Return a template to begin with, made of the first columns of a row that hold text, as it is written in YAML."""
    texts = [column for column, value in row.items() if isinstance(value, str | int | float) and _can_be_named(column)]
    best = sorted(texts, key=lambda column: _plain(column) not in _QUESTIONS)
    question = best[0] if best else "question"
    rest = [column for column in texts if column != question]
    rest.sort(key=lambda column: _plain(column) not in (*_ANSWERS, *_CHOSEN, *_REJECTED))
    first, second = [*rest, "answer", "other_answer"][:2] if len(rest) < 2 else rest[:2]
    parts = {
        "cpt": {"text": question},
        "grpo": {"prompt": question},
        "dpo": {"prompt": question, "chosen": first, "rejected": second},
    }.get(method, {"prompt": question, "completion": first} if rest or not texts else {"text": question})
    return f"template: {in_yaml({column: f'{{{name}}}' for column, name in parts.items()})}"


def in_yaml(value: Json) -> str:
    """Return a template in YAML, on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_written(part, key)}" for key, part in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(in_yaml, value)) + "]"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _written(part: Json, key: str) -> str:
    return str(part) if key == "role" else in_yaml(part)


def _prompt(question: str, context: str | None, system: str | None, as_turns: bool) -> dict[str, Json]:
    further = f"\n{{{context}?}}" if context else ""
    if not as_turns:
        before = f"{{{system}?}}\n\n" if system else ""
        return {"prompt": f"{before}{{{question}}}{further}\n\n"}
    turns = [{"role": "system", "content": f"{{{system}}}"}] if system else []
    return {"prompt": [*turns, {"role": "user", "content": f"{{{question}}}{further}"}]}


def _answers(columns: Mapping[str, str], as_turns: bool) -> dict[str, Json]:
    texts = {name: f"{{{column}}}" for name, column in columns.items()}
    if not as_turns:
        return dict(texts)
    return {name: [{"role": "assistant", "content": text}] for name, text in texts.items()}


def _named(row: Mapping[str, Any], names: Sequence[str], *, turns: bool = False) -> list[str]:
    """Return the columns with one of these names that hold text, in the order of `names`."""
    by_name = {_plain(column): column for column in row if _can_be_named(column)}
    found = [by_name[name] for name in names if name in by_name]
    return [
        name for name in found if isinstance(row[name], str | int | float | None) or (turns and is_turns(row[name]))
    ]


def _single(names: Iterable[str]) -> str | None:
    found = list(names)
    return found[0] if len(found) == 1 else None


def _plain(column: str) -> str:
    return re.sub(r"[\s-]+", "_", column.strip().lower())


def _can_be_named(column: str) -> bool:
    return bool(column) and not set(column) & set("{}") and column[0] not in "#^/" and column[-1] != "?"
