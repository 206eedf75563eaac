"""Commands as the person at this terminal would have to type them."""

import shlex
import shutil
import sys
from pathlib import Path

import click
from click.core import ParameterSource


def as_typed(words: str) -> str:
    """``resume last`` with the program before it and, if this command was given a ``--store``, the store behind it.

    Args:
        words: a command of ours with its arguments.
    """
    context = click.get_current_context()
    if context.get_parameter_source("store") is ParameterSource.COMMANDLINE:
        words += f" --store {shlex.quote(context.params['store'].url)}"
    return f"{_program()} {words}"


def _program() -> str:
    """``runner`` if that is found and is this very program, else the path by which it was started."""
    found, started = shutil.which("runner"), Path(sys.argv[0])
    if started.name != "runner" or (found is not None and started.exists() and started.samefile(found)):
        return "runner"
    return shlex.quote(str(started))
