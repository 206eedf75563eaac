"""Rewards of `smollm2-135m-grpo`. The file travels with the run; a recipe names its functions."""

import re
from typing import Any


def closeness(completions: list[Any], answer: list[str], **kwargs: Any) -> list[float]:
    """Between 0 and 1, the nearer the last number is to the answer: something to follow before any answer is right.

    `completions` are lists of messages, as the prompts are; `answer` is the data's column of that name.
    """
    rewards = []
    for completion, expected in zip(completions, answer, strict=True):
        text = completion if isinstance(completion, str) else completion[-1]["content"]
        numbers = re.findall(r"-?\d{1,9}", text)
        rewards.append(1 / (1 + abs(int(numbers[-1]) - int(expected))) if numbers else 0.0)
    return rewards
