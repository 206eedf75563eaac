"""Arithmetic problems whose answers can be checked."""

import functools
import random

_PROBLEMS = 2000
_SEED = 42


@functools.cache
def arithmetic() -> tuple[dict[str, str], ...]:
    """Return sums, differences and products of small numbers, no two the same.

    ``{"prompt": "What is 47 + 18?", "answer": "65"}``. Always the same problems in the same order.
    """
    # Only `randrange`: Python keeps its results for a seed, which it does not promise for `shuffle`.
    draw = random.Random(_SEED)
    problems: dict[str, str] = {}
    while len(problems) < _PROBLEMS:
        kind = draw.randrange(3)
        if kind == 2:
            first, second = 2 + draw.randrange(19), 2 + draw.randrange(11)
            problem, answer = f"{first} * {second}", first * second
        else:
            first, second = 1 + draw.randrange(99), 1 + draw.randrange(99)
            problem, answer = (
                (f"{first} + {second}", first + second) if kind == 0 else (f"{first} - {second}", first - second)
            )
        problems.setdefault(f"What is {problem}?", str(answer))
    return tuple({"prompt": prompt, "answer": answer} for prompt, answer in problems.items())
