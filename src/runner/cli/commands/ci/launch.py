"""``runner ci launch``."""

import contextlib
import io
import json
import os
import shlex
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.ci.options import requirement_options
from runner.cli.options import recipe_argument, store_option
from runner.cli.output import say, show
from runner.errors import UserError

if TYPE_CHECKING:
    from runner.storage.store import Store


@click.command()
@recipe_argument
@click.option("--args", metavar="TEXT", default="", help="Options of `runner launch`, quoted as in a shell.")
@click.option("--max-cost", metavar="DOLLARS", default="", help="The most that the run may cost.")
@click.option("--pin-data", is_flag=True, help="Train on the present commit of each dataset on the hub.")
@click.option("--leave", is_flag=True, help="Let `runner ci collect` report the run, in another job.")
@requirement_options
@store_option
def launch(
    store: "Store",
    recipe: str,
    args: str,
    max_cost: str,
    pin_data: bool,
    leave: bool,
    requirements: list[str],
    baseline: str | None,
) -> None:
    """Launch a recipe from a CI job, once, and leave it running.

    As `runner launch --once --detach`. Prints the run's id; outputs are `run_id`, `state`, `eval_loss` and `cost`.
    Nothing is launched for a fork's pull request.

    \b
    Example:
      runner ci launch my-recipe.yaml --args '--gpu L4 --spot' --max-cost 20
      runner ci launch my-recipe.yaml --leave --require 'eval_loss <= 2'
    """
    from runner.cli.commands.launch import launch as command
    from runner.control.ci.awaited import leave_run
    from runner.control.ci.event import read_event
    from runner.control.ci.finish import give_outputs, run_outputs
    from runner.control.results.gate import SUCCEEDED, read_requirements
    from runner.runs.status import run_status

    event = read_event(os.environ)
    if event.distrusted:
        remedy = "a fork's change is launched by who has reviewed it, from a branch of this repository"
        raise UserError(f"nothing is launched: {event.distrusted}", where=event.name, remedy=remedy)
    read_requirements(requirements or [SUCCEEDED], with_baseline=baseline is not None)  # before money is spent
    try:
        words = shlex.split(args)
    except ValueError as error:
        raise UserError(f"it cannot be read: {error}", where=f"--args {args}", remedy="quote as in a shell") from error
    limit = ["--max-cost", max_cost] if max_cost else []
    if pin_data:
        from runner.control.ci.pins import pin_data as pins

        given = [word.partition("=")[2] for word in words if word.startswith("--set=")]
        given += [word for before, word in pairwise(words) if before == "--set"]
        words += [part for pin in pins(recipe, given, cwd=Path.cwd(), say=say) for part in ("--set", pin)]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        options = [*words, *limit, "--once", "--detach", "--yes", "--json", "--store", store.url]
        code = command.main([*options, "--", recipe], prog_name="runner launch", standalone_mode=False)
    outcome = json.loads(printed.getvalue() or "{}")
    if "run_id" not in outcome:
        raise UserError("it launches nothing", where=f"--args {args}", remedy="leave out --dry-run and --help")
    status = run_status(store, outcome["run_id"])
    give_outputs(run_outputs(status))
    if leave:
        leave_run(store, status.run_id, event, requirements=requirements, baseline=baseline)
    show(status.run_id)
    raise click.exceptions.Exit(code if isinstance(code, int) else 0)
