"""``runner ci finish``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.ci.cancelling import cancelled_by_signals
from runner.cli.ci.options import folder_option, requirement_options
from runner.cli.options import run_argument, store_option
from runner.cli.output import say, show

if TYPE_CHECKING:
    from runner.storage.store import Store


@click.command()
@run_argument
@click.option("--timeout", "timeout_seconds", metavar="SECONDS", type=click.FloatRange(min=0), help="Wait no longer.")
@requirement_options
@folder_option
@store_option
def finish(
    store: "Store",
    run: str,
    timeout_seconds: float | None,
    requirements: list[str],
    baseline: str | None,
    folder: Path,
) -> None:
    """Wait for a run, hold it against requirements, and write what the job keeps.

    Only the store is read. SIGINT and SIGTERM, by which a CI system ends a job that is cancelled, cancel the run. Exits
    0 if all requirements hold, 1 if not, 2 for a mistake in them or in the recipe, 75 if the run has not ended: it goes
    on, and the job can be started again.

    Written are summary.md, comment.md, report.html, gate.xml (JUnit), gate.json and outputs.env. On GitHub, the summary
    is added to that of the job, and outputs are `run_id`, `state`, `eval_loss`, `cost`, `passed` and `report`.

    \b
    Example:
      runner ci finish RUN --timeout 3600 --require 'eval_loss <= 1.02 * baseline.eval_loss' --baseline main
    """
    from runner.control.ci.finish import finish_job, give_outputs, give_summary
    from runner.control.results.gate import SUCCEEDED, read_requirements
    from runner.control.wait import wait_for_end
    from runner.runs.listing import find_run

    run_id = find_run(store, run)
    read_requirements(requirements or [SUCCEEDED], with_baseline=baseline is not None)  # before hours are waited
    with cancelled_by_signals(store, run_id):
        status = wait_for_end(store, run_id, timeout_seconds=timeout_seconds, say=say)
    finished = finish_job(store, status, folder, requirements=requirements, baseline=baseline, say=say)
    give_outputs(finished.outputs)
    give_summary(finished.summary)
    if finished.gate is None:
        say(f"{run_id} has not ended: it is {status.shown_state}")
    else:
        for each in finished.gate.checked:
            show(each.line)
    raise click.exceptions.Exit(finished.exit_code)
