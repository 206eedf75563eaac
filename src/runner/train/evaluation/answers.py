"""Find the final answer of a text, and compare two of them. Rewards and evaluation share this."""

import re
from collections.abc import Iterator
from fractions import Fraction

from runner.train.evaluation.math_equality import same_mathematics

_ANSWER_IS = re.compile(r"answer(?: is)?:?\s*(.+)", re.IGNORECASE)
_HASHES = re.compile(r"####\s*(.+)")
"""As in GSM8K."""
_BOXED_OR_BRACE = re.compile(r"\\boxed\s*\{|\\[{}]|[{}]")
"""As in MATH, and every brace; one after a backslash is a sign of the answer."""
_NUMBER = re.compile(r"(?<![\w.])(?<!\d,)[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?(?:\s*/\s*\d+)?(?!\w)")
_FRACTION = re.compile(r"\\[dt]?frac\{(-?\d+)\}\{(\d+)\}")
_PLAIN_NUMBER = re.compile(r"[-+]?[\d,]*\.?\d+")
_HIGHEST_EXPONENT = 400
"""Of a number like 1e9, in powers of ten: a float has 308, and `Fraction` would write out all zeros of 1e99999999."""
_LONGEST_ANSWER = 10_000
"""In characters: longer ones are only compared as texts."""
_TEXT_COMMAND = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_CHOICE = re.compile(r"\(([A-Za-z])\)")
_DECORATION = "*$ \t\n.,;:!"


def final_answer(text: str) -> str | None:
    """Return the answer that a text ends with, as it is written there; None if it gives none.

    It is the rest of the line after the last "answer:" or "answer is", the content of the last ``\\boxed{}``, or the
    text after the last ``####``, whichever comes last; else the last number.
    """
    return marked_answer(text) or next((number.group() for number in reversed(list(_NUMBER.finditer(text)))), None)


def marked_answer(text: str) -> str | None:
    """Return the answer that a text marks as one, as in `final_answer`; None if it marks none."""
    marked = [(match.start(), match.span(1)) for pattern in (_ANSWER_IS, _HASHES) for match in pattern.finditer(text)]
    marked += _boxed_answers(text)
    answers = (_plain(text[begin:end]) for _, (begin, end) in sorted(marked, reverse=True))
    return next((answer for answer in answers if answer), None)


def same_answer(first: str, second: str) -> bool:
    """Whether two answers are equal: the same number, however it is written, the same text, or the same mathematics.

    A number also equals words that hold it as their only number (``72 dollars``). What is neither the same number nor
    the same text is compared as mathematics (`same_mathematics`): ``\\sqrt{2}/2`` and ``\\frac{1}{\\sqrt{2}}``.
    """
    if max(len(first), len(second)) > _LONGEST_ANSWER:
        return first.strip() == second.strip()
    written = first, second
    first, second = _plain(first), _plain(second)
    if first == second or _same_numbers(first, second):
        return True
    if _PLAIN_NUMBER.fullmatch(first) and _PLAIN_NUMBER.fullmatch(second):
        return "%" in "".join(written) and same_mathematics(*written)
    return same_mathematics(*written)


def _same_numbers(first: str, second: str) -> bool:
    numbers = _number(first), _number(second)
    if numbers[0] is None and numbers[1] is not None:
        numbers = _only_number(first), numbers[1]
    elif numbers[1] is None and numbers[0] is not None:
        numbers = numbers[0], _only_number(second)
    return numbers[0] is not None and numbers[0] == numbers[1]


def _boxed_answers(text: str) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield the position of each ``\\boxed{}``, which may hold other braces, and where its content begins and ends."""
    open_braces: list[re.Match[str]] = []
    for brace in _BOXED_OR_BRACE.finditer(text):
        if brace[0] == "}":
            if open_braces and (opened := open_braces.pop())[0] != "{":
                yield opened.start(), (opened.end(), brace.start())
        elif brace[0][-1] == "{" and brace[0] != "\\{":
            open_braces.append(brace)


def _plain(answer: str) -> str:
    """Return an answer without the signs around it that do not belong to it."""
    answer = answer.strip().removeprefix("\\(").removesuffix("\\)").strip(_DECORATION)
    if word := _TEXT_COMMAND.fullmatch(answer):
        answer = word[1].strip(_DECORATION)
    if choice := _CHOICE.fullmatch(answer):
        answer = choice[1]
    return _FRACTION.sub(r"\1/\2", answer).removesuffix("%").removesuffix("\\").strip(_DECORATION)


def _number(text: str) -> Fraction | None:
    text = text.removeprefix("+")
    if _NUMBER.fullmatch(text) is None:
        return None
    exponent = re.search(r"[eE]([-+]?\d+)", text)
    if exponent and (len(exponent[1]) > 5 or abs(int(exponent[1])) > _HIGHEST_EXPONENT):
        return None
    try:
        return Fraction(re.sub(r"[,\s]", "", text))
    except (ValueError, ZeroDivisionError):
        return None


def _only_number(text: str) -> Fraction | None:
    numbers = [match.group() for match in _NUMBER.finditer(text)]
    return _number(numbers[0]) if len(numbers) == 1 else None
