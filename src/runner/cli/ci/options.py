"""Options that several commands of ``runner ci`` have. What is empty counts as not given: inputs of workflows are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def requirement_options(command: F) -> F:
    """``--require`` and ``--baseline``, as `runner gate` has them: the command gets `requirements` and `baseline`."""
    command = click.option(
        "--baseline",
        metavar="BASELINE",
        callback=lambda ctx, param, value: value or None,
        help="What to compare with, as `runner gate` takes it.",
    )(command)
    return click.option(
        "--require",
        "requirements",
        metavar="EXPRESSION",
        multiple=True,
        callback=lambda ctx, param, value: [
            line for text in value for line in map(str.strip, text.splitlines()) if line
        ],
        help="What must hold, as `runner gate` takes it; several, a line each. Default: that the run succeeds.",
    )(command)


def folder_option(command: F) -> F:
    """``--folder``: the command gets `folder`."""
    return click.option(
        "--folder",
        metavar="FOLDER",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("runner-report"),
        show_default=True,
        help="Where the files go.",
    )(command)
