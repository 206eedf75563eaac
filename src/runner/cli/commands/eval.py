"""``runner eval``."""

from typing import TYPE_CHECKING

import click

from runner.cli.options import checkpoint_option, json_option, run_argument, store_option
from runner.cli.output import print_json, say, show
from runner.paths import working_directory

if TYPE_CHECKING:
    from runner.storage.store import Store


@click.command("eval")
@run_argument
@click.option(
    "--data",
    "data",
    metavar="PATH",
    multiple=True,
    help="Evaluate on this (a file, folder, hub id, or an entry as in a recipe) instead; may be repeated.",
)
@click.option("--prompt", "prompts", metavar="TEXT", multiple=True, help="Complete this instead; may be repeated.")
@checkpoint_option
@json_option
@store_option
def evaluate(
    store: "Store",
    run: str,
    data: tuple[str, ...],
    prompts: tuple[str, ...],
    checkpoint: str | None,
    as_json: bool,
) -> None:
    """Measure a finished run again: what it began with beside what it ended with.

    It works on this machine, from the artifacts in the store, and keeps the result there.

    \b
    Example:
      runner eval last
      runner eval last --checkpoint 200
      runner eval last --data test.jsonl --prompt "What is 12 * 7?"
    """
    from runner.control.evaluate import EvaluationFailed, evaluate_run
    from runner.reports import summary
    from runner.runs.listing import find_run

    run_id = find_run(store, run)
    try:
        cwd = working_directory()
        record = evaluate_run(store, run_id, data=data, prompts=prompts, cwd=cwd, say=say, checkpoint=checkpoint)
    except EvaluationFailed as error:
        say(f"Error: {error}")
        raise click.exceptions.Exit(1) from error
    if as_json:
        print_json(record)
        return
    show(summary.format_measurements(record))
    say(f"\nkept in the store as evaluations/{record['id']}.json of {run_id}")
