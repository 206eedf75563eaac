"""Reward functions: the built-in ones, and those of a Python file that is uploaded with the recipe.

A reward function is called by TRL with ``prompts``, ``completions``, ``completion_ids`` and every other column of
the data, each a list with one entry for each completion, and returns a list of numbers.
"""

import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from runner.errors import UserError
from runner.recipe.inputs.reward_refs import COMPARING_REWARDS, TRL_REWARDS, split_reward
from runner.train.evaluation.answers import final_answer, same_answer
from runner.train.methods.reward_checks import check_parameters, checked
from runner.train.methods.trl_rewards import SOLUTION, trl_reward
from runner.train.user_code import place_in_user_code

RewardFunction: TypeAlias = Callable[..., list[float | None]]


def load_rewards(
    names: Sequence[str], *, inputs: Callable[[str], Path], columns: Sequence[str], max_completion_length: int
) -> list[RewardFunction]:
    """Return the functions that `training.reward_funcs` names, in order.

    Args:
        names: ``builtin:<name>``, a name of TRL's, or a file and a function in it, ``rewards.py:correct``.
        inputs: returns the local copy of a file that was uploaded with the recipe.
        columns: the columns of the training data.
        max_completion_length: the length in tokens at which a generation is cut off.

    Raises:
        UserError: a function does not exist, needs a column that the data do not have, or does not take one.
    """
    builtin = _builtin(max_completion_length)
    functions: list[RewardFunction] = []
    for index, name in enumerate(names):
        where = f"training.reward_funcs.{index}"
        source, function = split_reward(name)
        if name in TRL_REWARDS:
            functions.append(trl_reward(name, max_completion_length=max_completion_length))
            if name in COMPARING_REWARDS and SOLUTION not in columns:
                raise UserError(
                    f"`{name}` needs a column `{SOLUTION}`",
                    where=where,
                    remedy=f"The data have {', '.join(columns)}; write a template that makes one.",
                )
        elif source is None:
            if function == "exact-answer" and "answer" not in columns:
                raise UserError(
                    "`builtin:exact-answer` needs a column `answer`",
                    where=where,
                    remedy=f"The data have {', '.join(columns)}; write a template that makes one.",
                )
            functions.append(builtin[function])
        else:
            path = inputs(source) if source.startswith("inputs/") else Path(source)
            reward = _load_from_file(path, function, where)
            check_parameters(reward, function, where, columns)
            functions.append(checked(reward, function, where))
    return functions


def _load_from_file(path: Path, function: str, where: str) -> RewardFunction:
    reward: RewardFunction | None = getattr(_import_file(path, where), function, None)
    if not callable(reward):
        raise UserError(f"{path.name} has no function `{function}`", where=where)
    return reward


def _import_file(path: Path, where: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"rewards_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        place = place_in_user_code(error)
        raise UserError(
            f"{place or path.name} cannot be imported: {type(error).__name__}: {error}",
            where=where,
            remedy="It travels alone: it may import what is installed, and no file beside it.",
        ) from error
    return module


def _builtin(max_completion_length: int) -> Mapping[str, RewardFunction]:
    def length(completion_ids: Sequence[Sequence[int]], **columns: Any) -> list[float | None]:
        return [max(0.0, 1 - len(ids) / max_completion_length) for ids in completion_ids]

    return {"exact-answer": exact_answer, "answer-format": answer_format, "length": length}


def exact_answer(completions: Sequence[Any], answer: Sequence[Any], **columns: Any) -> list[float | None]:
    """Return 1 for each completion whose answer is that of the column ``answer``, else 0.

    `runner.train.evaluation.answers` finds both: the text after "Answer:", the content of ``\\boxed{}``, or the last
    number. Numbers are compared as numbers (``1,000`` is ``1000.0``), and what is mathematics as mathematics.
    """
    rewards: list[float | None] = []
    for completion, expected in zip(completions, answer, strict=True):
        text = text_of(completion)
        rewards.append(float(same_answer(final_answer(text) or text, str(expected))))
    return rewards


def answer_format(completions: Sequence[Any], **columns: Any) -> list[float | None]:
    """Return 1 for each completion whose last line that is not blank has an answer after "Answer:", else 0."""
    last_lines = [(text_of(completion).strip().splitlines() or [""])[-1] for completion in completions]
    return [float(re.match(r"\W*(final )?answer:\s*\S", line, re.IGNORECASE) is not None) for line in last_lines]


def text_of(completion: Any) -> str:
    """Return the generated text of a completion: a string or messages."""
    if isinstance(completion, str):
        return completion
    return "".join(str(message.get("content") or "") for message in completion)
