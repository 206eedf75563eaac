"""What commands print: a sentence to people, one JSON document to programs.

Text from a store, a recipe or a file may hold anything: no control character of it reaches the terminal.
"""

import json
import os
import sys
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, Any

import click

from runner.cli.streams import abandon, writing_output
from runner.redaction import hide_tokens
from runner.terminal import visible

if TYPE_CHECKING:
    from runner.reports.drawing.plot import Line
    from runner.runs.status import RunStatus

_INDENTED_CHARACTERS = 1_000_000
"""A document that is longer is for programs only: it is written several times as fast without line breaks."""


def say(sentence: str) -> None:
    """A sentence to standard error, without what has the form of a token.

    If nobody can read it there, that is no reason to stop.
    """
    try:
        click.echo(visible(hide_tokens(sentence)), err=True)
    except OSError:
        abandon(sys.stderr)


def show(text: str, *, nl: bool = True) -> None:
    """What people asked for, to standard output.

    Raises:
        BrokenPipeError, OutputFailed: it cannot be written there.
    """
    with writing_output():
        click.echo(visible(text), nl=nl)


def has_colors(stream: IO[str]) -> bool:
    """Whether what is written to a stream may be colored: it is a terminal that can, and ``NO_COLOR`` is not set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "") != "dumb"


def show_parts(lines: "Iterable[Line]", *, colors: bool) -> None:
    """Lines in colored parts, to standard output.

    Raises:
        BrokenPipeError, OutputFailed: they cannot be written there.
    """
    with writing_output():
        for line in lines:
            parts = [(visible(text), color) for text, color in line]
            if parts:
                parts[-1] = parts[-1][0].rstrip(" "), parts[-1][1]
            shown = "".join(click.style(text, fg=color) if color and colors else text for text, color in parts)
            click.echo(shown, color=colors)


def other_output() -> IO[str] | None:
    """Where the output of other programs, such as SkyPilot's, goes: to a person's terminal, and nowhere else.

    A program that reads our standard error gets the one message of an error.
    """
    return sys.stderr if sys.stderr.isatty() else None


def print_json(value: object) -> None:
    """One JSON document to standard output: indented, unless it is longer than anybody reads."""
    text = json.dumps(value)
    with writing_output():
        click.echo(json.dumps(value, indent=2) if len(text) < _INDENTED_CHARACTERS else text)


def run_row(status: "RunStatus") -> dict[str, Any]:
    """A run as `ps --json` lists it."""
    return {
        "run_id": status.run_id,
        "recipe": status.recipe,
        "state": status.state,
        "reason": status.reason,
        "paused": status.paused,
        "infra": status.infra,
        "accelerators": status.accelerators,
        "stage": status.stage,
        "stage_number": status.stage_number,
        "stage_count": status.stage_count,
        "step": status.step,
        "max_steps": status.max_steps,
        "loss": status.loss,
        "eval_loss": status.eval_loss,
        "device": status.device,
        "tokens": status.tokens,
        "tokens_per_second": status.tokens_per_second,
        "phase": status.phase,
        "idle_seconds": status.idle_seconds,
        "last_sign_seconds": status.last_sign_seconds,
        "stalled": status.stalled,
        "message": status.message,
        "checkpoint_step": status.checkpoint_step,
        "attempts": status.attempts,
        "cost": status.cost,
        "cost_per_hour": status.cost_per_hour,
        "created_at": status.created_at,
        "ended_at": status.ended_at,
    }


def damaged_row(run_id: str, error: Exception) -> dict[str, Any]:
    """A run as `ps --json` lists it if its records cannot be trusted."""
    from runner.runs.status import RunStatus

    fields = run_row(RunStatus(run_id=run_id, recipe="", state="pending", infra="", created_at=""))
    return {**dict.fromkeys(fields), "run_id": run_id, "state": "damaged", "reason": str(error)}


def run_outcome(status: "RunStatus", store_url: str) -> dict[str, Any]:
    """A run as `launch --json`, `resume --json` and `cancel --json` return it."""
    return {"run_id": status.run_id, "state": status.state, "store": store_url} | run_row(status)
