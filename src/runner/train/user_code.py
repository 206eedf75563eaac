"""Where in the user's own Python code an error arose: the reward file's line instead of a library's.

The user's code is every file that is neither Python's own, nor installed, nor runner's: a reward file, what it imports,
a model's code that comes with it (`trust_remote_code`).
"""

import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType

from runner.errors import causes

_MODULES_OF_MODELS = "/transformers_modules/"
"""The folder that transformers imports a model's code from."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A line of the user's code."""

    file: str
    """The file's name, without its folder."""
    line: int
    """Counted from 1."""
    function: str | None
    """The function, without the nameless ones in it; None while the file is imported."""
    step: str | None = None
    """When the training came there ("at step 3"), if it had begun."""
    of_model: bool = False
    """The file is part of a model, not written for this run."""

    def __str__(self) -> str:
        function = f" in {self.function}" if self.function else ""
        return f"{self.file}:{self.line}{function}" + (f", {self.step}" if self.step else "")


def place_in_user_code(error: BaseException) -> Place | None:
    """Return the innermost line of the user's code that an error, or one that caused it, came through; None if none.

    Args:
        error: what was raised.
    """
    step = None
    for cause in causes(error, contexts=True):
        frames = list(_frames(cause))
        step = step or _step([frame for frame, _ in frames])
        for frame, line in reversed(frames):
            code = frame.f_code
            if is_users(code.co_filename):
                name = code.co_qualname.partition(".<locals>.<")[0].replace(".<locals>", "")
                return Place(
                    file=Path(code.co_filename).name,
                    line=line,
                    function=None if name.startswith("<") else name,
                    step=step,
                    of_model=_MODULES_OF_MODELS in code.co_filename,
                )
    return None


def is_users(file: str) -> bool:
    """Whether a file of Python code is the user's own. What was made in memory (``<string>``) is not.

    Args:
        file: as it stands in a traceback.
    """
    path = Path(file)
    if not path.is_absolute() or not {"site-packages", "dist-packages"}.isdisjoint(path.parts):
        return False
    return not any(path.is_relative_to(folder) for folder in _not_the_users())


@cache
def _not_the_users() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    installed = [Path(paths[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    ours = Path(__file__).parents[1]
    compiled = list(Path(tempfile.gettempdir()).glob("torchinductor_*"))
    folders = [*installed, ours, *compiled]
    return (*folders, *(folder.resolve() for folder in folders))


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """Yield the frames of an error with the line that each was at, the innermost last."""
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback.tb_frame, traceback.tb_lineno
        traceback = traceback.tb_next


def _step(frames: list[FrameType]) -> str | None:
    """Return when an error arose, from the trainer that it came through."""
    for frame in frames:
        step = getattr(getattr(frame.f_locals.get("self"), "state", None), "global_step", None)
        if not isinstance(step, int):
            continue
        if any(inner.f_code.co_name == "evaluate" for inner in frames):
            return f"in the evaluation after step {step}" if step else "in the evaluation before training"
        return f"at step {step + 1}"
    return None
