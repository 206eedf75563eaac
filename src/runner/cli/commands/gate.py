"""``runner gate``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, run_argument, store_option
from runner.cli.output import print_json, say, show
from runner.exit_codes import FAILED, INTERRUPTED, SUCCEEDED

if TYPE_CHECKING:
    from runner.storage.store import Store


@click.command()
@run_argument
@click.option(
    "--require",
    "requirements",
    metavar="EXPRESSION",
    multiple=True,
    required=True,
    help="What must hold, as 'eval_loss <= 1.02 * baseline.eval_loss'. May be repeated: all must hold.",
)
@click.option(
    "--baseline",
    metavar="BASELINE",
    help="What to compare with: a run, a tag or branch, a JSON file, or REF:PATH, a file in git.",
)
@click.option(
    "--wait", "wait_seconds", metavar="SECONDS", type=click.FloatRange(min=0), help="Wait so long for the run's end."
)
@click.option("--junit", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write JUnit XML there.")
@click.option("--out", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write JSON there.")
@json_option
@store_option
def gate(
    store: "Store",
    run: str,
    requirements: tuple[str, ...],
    baseline: str | None,
    wait_seconds: float | None,
    junit: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Hold a run's results against requirements, and exit 1 if one does not hold.

    Exits 75 if the run has not ended. A value that is missing or not a number never passes.

    \b
    Example:
      runner gate last --require 'eval_loss <= 2.5'
      runner gate last --require 'exact_match >= baseline.exact_match' --baseline main:eval/baseline.json
    """
    from runner.control.results.gate import check, read_requirements
    from runner.control.wait import wait_for_end
    from runner.runs.listing import find_run
    from runner.runs.status import run_status
    from runner.storage.atomic import atomic_write

    expressions = read_requirements(requirements, with_baseline=baseline is not None)
    run_id = find_run(store, run)
    if wait_seconds is None:
        status = run_status(store, run_id)
    else:
        status = wait_for_end(store, run_id, timeout_seconds=wait_seconds, say=say)
    if not status.terminal:
        say(f"{run_id} has not ended: it is {status.shown_state}; `runner wait {run_id}` waits for it")
        raise click.exceptions.Exit(INTERRUPTED)
    found = check(store, status, expressions, baseline)
    if junit is not None:
        with atomic_write(junit) as part:
            part.write_bytes(found.to_junit(run_id))
    if out is not None:
        with atomic_write(out) as part:
            part.write_text(json.dumps(found.to_document(run_id), indent=2) + "\n")
    if as_json:
        print_json(found.to_document(run_id))
    else:
        for each in found.checked:
            show(each.line)
    raise click.exceptions.Exit(SUCCEEDED if found.passed else FAILED)
