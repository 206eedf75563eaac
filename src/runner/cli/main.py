"""The `runner` program: one lazy group, and the one place where errors become messages.

Commands are named in a table and imported when they are run, so that `runner --help` costs what Click costs.
"""

import errno
import io
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from runner import __version__
from runner.cli.lazy import LazyGroup
from runner.cli.output import say
from runner.cli.streams import OutputFailed, abandon, open_closed_streams, writing_output
from runner.errors import UserError
from runner.exit_codes import CTRL_C, FAILED, MISTAKE, SUCCEEDED

_COMMANDS = {
    "launch": "Start a run of a recipe and follow it to its end.",
    "render": "Print the SkyPilot task that a launch would send.",
    "ps": "List runs, the newest first.",
    "top": "Watch all that is alive on one screen.",
    "logs": "Print what runs have written.",
    "metrics": "Print or draw the metrics of runs, one line per step.",
    "compare": "Show runs side by side: results, learning curves, and what differs between them.",
    "report": "Write a report of runs or of a sweep: one HTML file that opens without a network.",
    "wait": "Wait until a run has ended, and exit as it did.",
    "cost": "Show what runs and sweeps have cost, idle and failed time included.",
    "gate": "Hold a run's results against requirements, and exit 1 if one does not hold.",
    "ci": "Launch, wait and report in a job of a CI system.",
    "cancel": "End a run for good.",
    "resume": "Continue a run that was interrupted, or that failed, from its last checkpoint.",
    "extend": "Train a run that has ended for more steps, as a run of its own.",
    "reproduce": "Launch the same training again, and say whether the result is identical.",
    "eval": "Measure a finished run again: what it began with beside what it ended with.",
    "checkpoints": "List a run's checkpoints.",
    "artifacts": "List a run's artifacts.",
    "pull": "Fetch a run's results, metrics and artifacts.",
    "export": "Make more of a run's model: merged, GGUF files, on the hub, a Gradio Space.",
    "chat": "Talk to a run's model, beside the one that it was made from.",
    "tag": "Give runs a tag, or take it from them.",
    "note": "Write a note on runs, or show the one that a run has.",
    "du": "Show what runs take of the store.",
    "rm": "Delete runs, or a sweep with its trials.",
    "gc": "Delete what nothing needs any more.",
    "sweep": "Search for the best values of a recipe's settings, over many runs.",
    "init": "Write a recipe: from three questions, or from a model, data and a method.",
    "plan": "Show on which GPUs and clouds a recipe fits, and for how much.",
    "check": "Say whether recipes are valid, and what is wrong with them.",
    "preview": "Show rows of a recipe as they are trained on.",
    "import": "Write the recipe that another tool's config means.",
    "jobs": "List the recipes that can be launched by name, or print one.",
    "config": "Show and change what is settled once for all launches.",
    "schema": "Print the JSON Schema of recipes, for editors.",
    "image": "Build the image that runs train in, and push it to a registry.",
    "doctor": "Look for what is missing on this machine.",
    "completion": "Print the script that completes commands in your shell.",
}
"""Each command's name, which is its module in `runner.cli.commands`, and the first sentence of its help."""

_MEANT = {
    **dict.fromkeys(("run", "train", "start", "submit", "finetune", "fine-tune", "exec"), "launch …"),
    **dict.fromkeys(("stop", "kill", "abort", "terminate", "end"), "cancel …"),
    **dict.fromkeys(("status", "ls", "list", "runs", "queue", "history", "show", "info"), "ps"),
    **dict.fromkeys(("watch", "dashboard", "ui", "monitor", "htop"), "top"),
    **dict.fromkeys(("tail", "attach", "follow"), "logs -f …"),
    **dict.fromkeys(("delete", "remove", "del", "down"), "rm …"),
    **dict.fromkeys(("clean", "cleanup", "prune"), "gc"),
    **dict.fromkeys(("download", "fetch", "get", "cp"), "pull …"),
    **dict.fromkeys(("continue", "restart", "retry", "recover"), "resume …"),
    **dict.fromkeys(("validate", "lint", "verify"), "check …"),
    **dict.fromkeys(("estimate", "fit", "offers", "gpus", "show-gpus"), "plan …"),
    **dict.fromkeys(("recipes", "recipe", "job", "templates", "examples"), "jobs …"),
    **dict.fromkeys(("serve", "infer", "generate", "talk", "ask"), "chat …"),
    **dict.fromkeys(("merge", "convert", "quantize", "publish", "upload", "push"), "export …"),
    **dict.fromkeys(("evaluate", "test", "benchmark", "measure"), "eval …"),
    **dict.fromkeys(("diff",), "compare …"),
    **dict.fromkeys(("plot", "curves"), "metrics …"),
    **dict.fromkeys(("price", "costs", "spend", "billing", "bill"), "cost"),
    **dict.fromkeys(("tune", "search", "hpo", "sweeps"), "sweep launch …"),
    **dict.fromkeys(("setup", "diagnose", "login", "env"), "doctor"),
    **dict.fromkeys(("new", "create", "scaffold", "template"), "init"),
    **dict.fromkeys(("settings", "configure", "set", "preferences"), "config list"),
    **dict.fromkeys(("build",), "image build"),
    **dict.fromkeys(("yaml", "task", "dryrun", "dry-run"), "render …"),
    "help": "--help",
    "version": "--version",
}
"""What people type who know other programs, and what they mean; ``…`` stands for what they typed behind it."""

_MACHINES = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE)
"""What a machine lacks."""
_CALLERS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""What is wrong with a path that somebody chose, on the command line or by a variable."""


class _Program(LazyGroup):
    """All commands; turns errors into messages and exit codes."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> None:
        """Run a command line and exit with its code.

        Exit codes: 0; 1 failed; 2 the caller's mistake; 75 interrupted, can be resumed; 130 Ctrl-C.
        """
        try:
            code = super().main(args, prog_name, **{**extra, "standalone_mode": False})
            with writing_output():
                pass
        except UserError as error:
            say(f"Error: {error}")
            code = MISTAKE
        except click.ClickException as error:
            _show(error)
            code = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            code = CTRL_C
        except BrokenPipeError:
            # Whoever read our output has left (`| head`).
            abandon(sys.stdout)
            code = SUCCEEDED
        except OutputFailed as error:
            say(f"Error: {error}")
            code = FAILED
        except Exception as error:
            trouble = _trouble(error)
            if trouble is None:
                raise
            message, code = trouble
            say(f"Error: {message}")
        sys.exit(code if isinstance(code, int) else 0)


def _show(error: click.ClickException) -> None:
    """Print a mistake in the command line as Click does."""
    text = io.StringIO()
    error.show(text)
    say(text.getvalue().rstrip("\n"))


def _trouble(error: Exception) -> tuple[str, int] | None:
    """Return what to say about an error that is none of ours, and the exit code; None for a bug."""
    message = _trouble_with_the_store(error)
    if message is not None:
        return message, FAILED
    if isinstance(error, RuntimeError) and "home directory" in str(error):  # pathlib's
        return "your home folder is not known\n  Set HOME to the absolute path of a folder.", MISTAKE
    if not isinstance(error, OSError):
        return None
    if isinstance(error, FileNotFoundError) and error.filename is None and _no_working_directory():
        return "the working directory is gone\n  Change to another with `cd`.", MISTAKE
    if error.errno in _MACHINES and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror, FAILED
    if error.errno in _CALLERS and error.filename:
        return f"{error.filename}: {error.strerror}", MISTAKE
    return None


def _no_working_directory() -> bool:
    try:
        os.getcwd()  # noqa: PTH109 (whether it is there is all that is asked)
    except FileNotFoundError:
        return True
    return False


def _trouble_with_the_store(error: Exception) -> str | None:
    """Return what to say about a store that failed; None for another error, which is a bug of ours."""
    from runner.storage.manifest import Damaged  # here: `--help` does without
    from runner.storage.store import NotFound, StoreFull, StoreUnavailable

    if isinstance(error, StoreUnavailable):
        return f"the store does not answer: {error}\n  Try again; `runner doctor` looks at the store."
    if isinstance(error, StoreFull):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}\n  Make room there, or name another store with --store."
    if isinstance(error, NotFound):
        return f"{error} is no longer in the store: it was deleted meanwhile"
    if isinstance(error, Damaged):
        return f"damaged in the store: {error}"
    return None


@click.group(
    cls=_Program,
    table=_COMMANDS,
    package="runner.cli.commands",
    program="runner",
    meant=_MEANT,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="runner", message="%(prog)s %(version)s")
def cli() -> None:
    """Fine-tune language models anywhere, and lose nothing when the machine goes away.

    \b
    Example:
      runner launch quickstart
    """


def main() -> None:
    """The `runner` program."""
    open_closed_streams()
    cli.main(prog_name="runner")
