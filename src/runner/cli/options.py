"""Arguments and options that several commands have."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from runner.storage.store import Store

F = TypeVar("F", bound=Callable[..., Any])


def store_option(command: F) -> F:
    """``--store URL``, opened: the command gets `store`."""
    return click.option(
        "--store",
        metavar="URL",
        envvar="RUNNER_STORE",
        show_envvar=True,
        callback=lambda ctx, param, value: _open(value),
        help="Where runs live: a folder, or s3://BUCKET/FOLDER. Default: runner's own folder below XDG_DATA_HOME.",
    )(command)


def checkpoint_option(command: F) -> F:
    """``--checkpoint``: the command gets `checkpoint`."""
    return click.option(
        "--checkpoint",
        metavar="STEP",
        help="The checkpoint of this step (STAGE-STEP in a run with stages), or `best`, `last`; of any run, also one "
        "that failed or is running.",
    )(command)


def json_option(command: F) -> F:
    """``--json``: the command gets `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def run_argument(command: F) -> F:
    """``RUN``, as it was written: the command gets `run`."""
    first, _, more = (command.__doc__ or "").partition("\n\n")
    command.__doc__ = f"{first}\n\n    RUN is a run's id, the beginning or the end of one, or `last`.\n\n{more}"
    return click.argument("run", metavar="RUN", shell_complete=_complete_run)(command)


def runs_argument(command: F) -> F:
    """``RUN…``, as they were written: the command gets `runs`."""
    first, _, more = (command.__doc__ or "").partition("\n\n")
    words = (
        "RUN is a run's id, the beginning or the end of one, `last`, a pattern such as 'quickstart-*', or a sweep:\n"
        "    its trials, the best first."
    )
    command.__doc__ = f"{first}\n\n    {words}\n\n{more}"
    return click.argument("runs", metavar="RUN...", nargs=-1, required=True, shell_complete=_complete_runs)(command)


def sweep_argument(command: F) -> F:
    """``SWEEP``, as it was written: the command gets `sweep`."""
    first, _, more = (command.__doc__ or "").partition("\n\n")
    command.__doc__ = f"{first}\n\n    SWEEP is a sweep's id, the beginning or the end of one, or `last`.\n\n{more}"
    return click.argument("sweep", metavar="SWEEP", shell_complete=_complete_sweep)(command)


def recipe_argument(command: F) -> F:
    """``RECIPE``, as it was written: the command gets `recipe`."""
    return click.argument("recipe", metavar="RECIPE", shell_complete=complete_recipe)(command)


def _open(url: str | None) -> "Store":
    from runner.remembered import default_store
    from runner.storage.open import open_store

    return open_store(url or default_store())


def _complete_run(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    from runner.runs.layout import RUNS

    return _complete_folder(RUNS, ctx, incomplete)


def _complete_runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    runs = _complete_run(ctx, param, incomplete)
    sweeps = _complete_sweep(ctx, param, incomplete)
    return [*runs, *(item for item in sweeps if item.value not in {run.value for run in runs})]


def _complete_sweep(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    from runner.sweeps.layout import SWEEPS

    return _complete_folder(SWEEPS, ctx, incomplete)


def _complete_folder(prefix: str, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
    from click.shell_completion import CompletionItem

    store = ctx.params.get("store") or _open(None)
    names = [name for name in reversed(store.folders(prefix)) if name.startswith(incomplete)]
    return [CompletionItem(name) for name in ["last", *names] if name.startswith(incomplete)]


def complete_recipe(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Complete the name of a recipe, or a file."""
    from click.shell_completion import CompletionItem

    from runner.recipe.loading.finder import available_recipes

    names = [CompletionItem(name) for name in available_recipes(Path.cwd()) if name.startswith(incomplete)]
    return names or [CompletionItem(incomplete, type="file")]
