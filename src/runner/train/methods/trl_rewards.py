"""TRL's own reward functions, by the names that they have in `trl.rewards`."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import trl.rewards as rewards

from runner.train.evaluation.math_equality import has_great_power

SOLUTION = "solution"
"""The column that TRL compares answers with."""

OVERLONG_SHARE = 5
"""The last fifth of `max_completion_length` is punished, as in DAPO's paper: 4096 of 20480 tokens."""


def trl_reward(name: str, *, max_completion_length: int) -> Callable[..., list[float | None]]:
    """Return one of TRL's reward functions; what begins with ``get_`` is made for the length of a completion.

    They take conversations only, and read a completion as ``completion[0]["content"]``: a string is given to them as
    one. A completion with a power that would be computed for hours is given to math-verify without its text.

    Args:
        name: a name of `runner.recipe.inputs.reward_refs.TRL_REWARDS`.
        max_completion_length: the length in tokens at which a generation is cut off.
    """
    arguments: Mapping[str, Mapping[str, Any]] = {
        "get_cosine_scaled_reward": {"max_len": max_completion_length},
        "get_repetition_penalty_reward": {},
        "get_soft_overlong_punishment": {
            "max_completion_len": max_completion_length,
            "soft_punish_cache": max(1, max_completion_length // OVERLONG_SHARE),
        },
    }
    function: Callable[..., Any] = getattr(rewards, name)
    if name in arguments:
        function = function(**arguments[name])

    def reward(completions: Sequence[Any], **columns: Any) -> list[float | None]:
        found: list[float | None] = function(completions=[_conversation(one) for one in completions], **columns)
        return found

    reward.__name__ = getattr(function, "__name__", name)  # in the metrics
    return functools.update_wrapper(reward, function, assigned=("__doc__",), updated=())


def _conversation(completion: Any) -> list[dict[str, str]]:
    messages = [{"role": "assistant", "content": completion}] if isinstance(completion, str) else list(completion)
    return [
        {**message, "content": "" if has_great_power(text := str(message.get("content") or "")) else text}
        for message in messages
    ]
