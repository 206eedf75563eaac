"""Final answers: where a text gives one, and whether two are the same. Of rewards and of evaluation alike."""

import re
from fractions import Fraction

_SAID = re.compile(r"answer(?: is)?:?\s*(.+)", re.IGNORECASE)
_HASHES = re.compile(r"####\s*(.+)")
"""As in GSM8K."""
_BOXED = "\\boxed{"
"""As in MATH."""
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?(?:\s*/\s*\d+)?(?!\w)")
_FRACTION = re.compile(r"\\[dt]?frac\{(-?\d+)\}\{(\d+)\}")
_DECORATION = "*$ \t\n.,;:!"


def final_answer(text: str) -> str | None:
    """The answer that a text ends with, as it is written there; None if it gives none.

    It is what follows the last "answer:" or "answer is" on that line, stands in the last ``\\boxed{}``, or follows the
    last ``####``, whichever comes last; else the last number.
    """
    return marked_answer(text) or next((number.group() for number in reversed(list(_NUMBER.finditer(text)))), None)


def marked_answer(text: str) -> str | None:
    """The answer that a text says to be one, as in `final_answer`; None if it says so of nothing."""
    found = [(match.start(), match[1]) for pattern in (_SAID, _HASHES) for match in pattern.finditer(text)]
    found += _boxed(text)
    answers = [_plain(answer) for _, answer in sorted(found)]
    return next((answer for answer in reversed(answers) if answer), None)


def same_answer(one: str, other: str) -> bool:
    """Whether two answers come to the same: equal numbers, however they are written, or equal texts.

    Of a number on one side and words on the other, which hold one number (``72 dollars``), the numbers are compared.
    """
    one, other = _plain(one), _plain(other)
    numbers = _number(one), _number(other)
    if numbers[0] is None and numbers[1] is not None:
        numbers = _only_number(one), numbers[1]
    elif numbers[1] is None and numbers[0] is not None:
        numbers = numbers[0], _only_number(other)
    if numbers[0] is not None and numbers[1] is not None:
        return numbers[0] == numbers[1]
    return one == other


def _boxed(text: str) -> list[tuple[int, str]]:
    """What stands in each ``\\boxed{}``, whose braces may hold others."""
    found = []
    start = text.find(_BOXED)
    while start >= 0:
        begin, depth = start + len(_BOXED), 1
        for end in range(begin, len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                found.append((start, text[begin:end]))
                break
        start = text.find(_BOXED, begin)
    return found


def _plain(answer: str) -> str:
    """Without the signs around an answer that are none of it."""
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
