"""Find the final answer of a text, and compare two of them. Rewards and evaluation share this."""

import re
from fractions import Fraction

_ANSWER_IS = re.compile(r"answer(?: is)?:?\s*(.+)", re.IGNORECASE)
_HASHES = re.compile(r"####\s*(.+)")
"""As in GSM8K."""
_BOXED = "\\boxed{"
"""As in MATH."""
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?(?:\s*/\s*\d+)?(?!\w)")
_FRACTION = re.compile(r"\\[dt]?frac\{(-?\d+)\}\{(\d+)\}")
_DECORATION = "*$ \t\n.,;:!"


def final_answer(text: str) -> str | None:
    """Return the answer that a text ends with, as it is written there; None if it gives none.

    It is the rest of the line after the last "answer:" or "answer is", the content of the last ``\\boxed{}``, or the
    text after the last ``####``, whichever comes last; else the last number.
    """
    return marked_answer(text) or next((number.group() for number in reversed(list(_NUMBER.finditer(text)))), None)


def marked_answer(text: str) -> str | None:
    """Return the answer that a text marks as one, as in `final_answer`; None if it marks none."""
    marked = [(match.start(), match[1]) for pattern in (_ANSWER_IS, _HASHES) for match in pattern.finditer(text)]
    marked += _boxed_answers(text)
    answers = [_plain(answer) for _, answer in sorted(marked)]
    return next((answer for answer in reversed(answers) if answer), None)


def same_answer(first: str, second: str) -> bool:
    """Whether two answers are equal: the same number, however it is written, or the same text.

    A number also equals words that hold it as their only number (``72 dollars``).
    """
    first, second = _plain(first), _plain(second)
    numbers = _number(first), _number(second)
    if numbers[0] is None and numbers[1] is not None:
        numbers = _only_number(first), numbers[1]
    elif numbers[1] is None and numbers[0] is not None:
        numbers = numbers[0], _only_number(second)
    if numbers[0] is not None and numbers[1] is not None:
        return numbers[0] == numbers[1]
    return first == second


def _boxed_answers(text: str) -> list[tuple[int, str]]:
    """Return the position and content of each ``\\boxed{}``, which may hold other braces."""
    answers = []
    start = text.find(_BOXED)
    while start >= 0:
        begin, depth = start + len(_BOXED), 1
        for end in range(begin, len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                answers.append((start, text[begin:end]))
                break
        start = text.find(_BOXED, begin)
    return answers


def _plain(answer: str) -> str:
    """Return an answer without the signs around it that do not belong to it."""
    answer = answer.strip().removeprefix("\\(").removesuffix("\\)").strip(_DECORATION)
    return _FRACTION.sub(r"\1/\2", answer).removesuffix("%").removesuffix("\\").strip(_DECORATION)


def _number(text: str) -> Fraction | None:
    text = text.removeprefix("+")
    if _NUMBER.fullmatch(text) is None:
        return None
    try:
        return Fraction(re.sub(r"[,\s]", "", text))
    except (ValueError, ZeroDivisionError):
        return None


def _only_number(text: str) -> Fraction | None:
    numbers = [match.group() for match in _NUMBER.finditer(text)]
    return _number(numbers[0]) if len(numbers) == 1 else None
