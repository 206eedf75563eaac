"""Arithmetic problems whose answers can be checked, made on the spot."""

import functools
import random

_PROBLEMS = 2000
_SEED = 42


@functools.cache
def arithmetic() -> tuple[dict[str, str], ...]:
    """Sums, differences and products of small numbers, no two the same.

    ``{"prompt": "What is 47 + 18?", "answer": "65"}``. Always the same problems in the same order.
    """
    # Drawn with `randrange` alone: Python keeps what it gives for a seed, which it does not promise of `shuffle`.
    draw = random.Random(_SEED)
    problems: dict[str, str] = {}
    while len(problems) < _PROBLEMS:
        kind = draw.randrange(3)
        if kind == 2:
            one, other = 2 + draw.randrange(19), 2 + draw.randrange(11)
            problem, answer = f"{one} * {other}", one * other
        else:
            one, other = 1 + draw.randrange(99), 1 + draw.randrange(99)
            problem, answer = (f"{one} + {other}", one + other) if kind == 0 else (f"{one} - {other}", one - other)
        problems.setdefault(f"What is {problem}?", str(answer))
    return tuple({"prompt": prompt, "answer": answer} for prompt, answer in problems.items())
