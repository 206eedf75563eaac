"""Check what reward functions take and return, and say which function is wrong.

TRL counts a reward that is not a number as one that does not apply (``None``), and an infinite one makes the
advantages, the loss and then all weights NaN.
"""

import functools
import inspect
import logging
import math
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch

from runner.errors import UserError

logger = logging.getLogger(__name__)

_FROM_TRL = ("prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric")
"""What `GRPOTrainer` passes to each reward function besides the columns of the data."""

UNSCORED_BATCHES = 3
"""After so many batches in a row that no function has scored, training ends; at once if none was ever scored."""


def check_parameters(function: Callable[..., Any], name: str, where: str, columns: Collection[str]) -> None:
    """Check that a reward function takes what it will be given, and needs nothing else.

    Args:
        function: the function.
        name: its name in the recipe.
        where: its place in the recipe.
        columns: the columns of the training data.

    Raises:
        UserError: it needs a column that the data lack, or does not take those that they have.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return  # written in C, for example
    given = [*_FROM_TRL, *(column for column in columns if column != "prompt")]
    has_keywords = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    named = [
        parameter
        for parameter in parameters
        if parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    ]
    lacking = [one.name for one in named if one.default is inspect.Parameter.empty and one.name not in given]
    if lacking:
        raise UserError(
            f"`{name}` needs {', '.join(f'`{column}`' for column in lacking)}, which the data do not have",
            where=where,
            remedy=f"The data have the columns {', '.join(columns)}. It is given those besides `prompt`, and "
            f"{', '.join(_FROM_TRL)}.",
        )
    surplus = sorted(set(given) - {one.name for one in named})
    if surplus and not has_keywords:
        raise UserError(
            f"`{name}` does not take `{surplus[0]}`, which it is given",
            where=where,
            remedy="Write `**kwargs` as its last parameter.",
        )


def checked(function: Callable[..., Any], name: str, where: str) -> Callable[..., Any]:
    """Return the function with its rewards checked at each call; it may be a coroutine function.

    What it raises is raised on, with a note of which function it was: the training's stack says only that it is one.

    Args:
        function: a reward function.
        name: its name in the recipe.
        where: its place in the recipe.
    """
    said: list[str] = []

    def check(rewards: Any, completions: Sequence[Any]) -> list[Any]:
        values = _as_list(rewards, len(completions), name, where)
        numbers = [value for value in values if value is not None]
        if infinite := [number for number in numbers if math.isinf(number)]:
            raise UserError(
                f"`{name}` returned {infinite[0]} as a reward",
                where=where,
                remedy="Rewards are finite numbers, or None where a function does not apply.",
            )
        if not said and any(math.isnan(number) for number in numbers):
            said.append(name)
            logger.warning(f"{where}: `{name}` returned NaN as a reward, which counts as None: it does not apply")
        return values

    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004

        @functools.wraps(function)
        async def checked_later(*args: Any, completions: Sequence[Any], **kwargs: Any) -> list[Any]:
            with _named_if_it_fails(name, where):
                rewards = await function(*args, completions=completions, **kwargs)
            return check(rewards, completions)

        return _named(checked_later, function, name)

    @functools.wraps(function)
    def checked_now(*args: Any, completions: Sequence[Any], **kwargs: Any) -> list[Any]:
        with _named_if_it_fails(name, where):
            rewards = _all_of(function(*args, completions=completions, **kwargs))
        return check(rewards, completions)

    return _named(checked_now, function, name)


@contextmanager
def _named_if_it_fails(name: str, where: str) -> Iterator[None]:
    """Add to an error which reward function raised it, and where in its file.

    Raises:
        UserError: it ended the process.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
        innermost = next((frame for frame in reversed(frames) if frame.filename == frames[0].filename), None)
        place = f"{Path(innermost.filename).name}, line {innermost.lineno}; " if innermost else ""
        if isinstance(error, SystemExit):
            raise UserError(
                f"`{name}` ended the process ({place}{error!r})",
                where=where,
                remedy="A reward function returns numbers, or raises an error.",
            ) from error
        error.add_note(f"raised by the reward function `{name}` ({place}{where})")
        raise


def _all_of(rewards: Any) -> Any:
    """Run a generator to its end, so that what it raises is the function's; return anything else as it is."""
    return list(rewards) if inspect.isgenerator(rewards) else rewards


class UnscoredBatches:
    """Notices that no reward function applies to any completion, so that nothing can be learned.

    Args:
        names: the functions' names in the recipe.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = ", ".join(f"`{name}`" for name in names)
        self._in_a_row = 0
        self.has_scored = False
        """Whether a batch has been scored, by this attempt or one that it goes on from."""

    def observe(self, rewards: torch.Tensor) -> None:
        """Look at the rewards of one batch.

        Args:
            rewards: of all training processes, by completion and function; NaN where a function does not apply.

        Raises:
            UserError: there were too many batches without a single reward.
        """
        if not bool(torch.isnan(rewards).all()):
            self._in_a_row, self.has_scored = 0, True
            return
        self._in_a_row += 1
        what = f"{self._names} returned None for all {len(rewards)} completions of a batch"
        if not self.has_scored or self._in_a_row >= UNSCORED_BATCHES:
            raise UserError(
                what,
                where="training.reward_funcs",
                remedy="None says that a function does not apply; at least one must for each completion.",
            )
        if self._in_a_row == 1:
            logger.warning(f"training.reward_funcs: {what}")


def _as_list(rewards: Any, count: int, name: str, where: str) -> list[Any]:
    """Return the rewards as a list of numbers and None."""
    remedy = f"It must return a list with one number, or None, for each of the {count} completions."
    if isinstance(rewards, torch.Tensor | np.ndarray):
        rewards = rewards.tolist()
    if not isinstance(rewards, Iterable) or isinstance(rewards, str | bytes | dict):
        raise UserError(f"`{name}` returned {_shown(rewards)}", where=where, remedy=remedy)
    values = [value.item() if isinstance(value, torch.Tensor | np.generic) else value for value in rewards]
    if len(values) != count:
        raise UserError(f"`{name}` returned {len(values)} rewards", where=where, remedy=remedy)
    for value in values:
        if value is not None and not isinstance(value, Real):
            raise UserError(f"`{name}` returned {_shown(value)} as a reward", where=where, remedy=remedy)
    return values


def _shown(value: Any) -> str:
    """Return a value of a user's function for a message, shortened."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _named(wrapper: Callable[..., Any], function: Any, name: str) -> Callable[..., Any]:
    """Return the wrapper with the name under which TRL logs the function's rewards."""
    wrapper.__name__ = getattr(function, "__name__", name)
    return wrapper
