"""The `runner` program: one lazy group, and the one place where errors become messages.

Commands are named in a table and imported when they are run, so that `runner --help` costs what Click costs.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from runner import __version__
from runner.errors import UserError

_COMMANDS = {
    "launch": "Start a run of a recipe and follow it to its end.",
    "render": "Print the SkyPilot task that a launch would send.",
    "ps": "List runs, the newest first.",
    "logs": "Print what a run has written.",
    "metrics": "Print a run's metrics, one line per step.",
    "wait": "Wait until a run has ended, and exit as it did.",
    "cancel": "End a run for good.",
    "resume": "Continue a run that was interrupted, or that failed, from its last checkpoint.",
    "eval": "Measure a finished run again: what it began with beside what it ended with.",
    "pull": "Fetch a run's results, metrics and artifacts.",
    "export": "Make more of a run's model: merged, as GGUF files, on the hub.",
    "chat": "Talk to a run's model, beside the one that it was made from.",
    "plan": "Show on which GPUs and clouds a recipe fits, and for how much.",
    "check": "Say whether recipes are valid, and what is wrong with them.",
    "jobs": "List the recipes that can be launched by name.",
    "schema": "Print the JSON Schema of recipes, for editors.",
    "image": "Build the image that runs train in, and push it to a registry.",
    "doctor": "Look for what is missing on this machine.",
    "completion": "Print the script that completes commands in your shell.",
}
"""Each command's name, which is its module in `runner.cli.commands`, and the first sentence of its help."""


class LazyGroup(click.Group):
    """A group that imports a command when it is asked for, and turns errors into messages and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"runner.cli.commands.{cmd_name}")
        return next(
            value for value in vars(module).values() if isinstance(value, click.Command) and value.name == cmd_name
        )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            hint = f"did you mean `runner {near[0]}`?" if near else "`runner --help` lists the commands"
            raise UserError(f"no command {args[0]!r}", remedy=hint)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> None:
        """Run a command line and exit with its code.

        Exit codes: 0; 1 failed; 2 the caller's mistake; 75 interrupted, can be resumed; 130 Ctrl-C.
        """
        try:
            code = super().main(args, prog_name, **{**extra, "standalone_mode": False})
            sys.stdout.flush()
        except UserError as error:
            click.echo(f"Error: {error}", err=True)
            code = 2
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            code = 130
        except BrokenPipeError:
            # Whoever read our output has left (`| head`). Python flushes stdout at exit: give it somewhere to go.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        except Exception as error:
            message = _trouble_with_the_store(error)
            if message is None:
                raise
            click.echo(f"Error: {message}", err=True)
            code = 1
        sys.exit(code if isinstance(code, int) else 0)


def _trouble_with_the_store(error: Exception) -> str | None:
    """Return what to say about a store that failed; None for another error, which is a bug of ours."""
    from runner.storage.manifest import Damaged  # here: `--help` does without
    from runner.storage.store import StoreFull, StoreUnavailable

    if isinstance(error, StoreUnavailable):
        return f"the store does not answer: {error}\n  Try again; `runner doctor` looks at the store."
    if isinstance(error, StoreFull):
        return str(error)
    if isinstance(error, Damaged):
        return f"damaged in the store: {error}"
    return None


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="runner", message="%(prog)s %(version)s")
def cli() -> None:
    """Fine-tune language models anywhere, and lose nothing when the machine goes away.

    \b
    Example:
      runner launch quickstart
    """


def main() -> None:
    """The `runner` program."""
    cli.main(prog_name="runner")
