"""``runner reproduce``."""

from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, run_argument, store_option
from runner.cli.output import other_output, print_json, say, show
from runner.cli.placement import start_options
from runner.errors import UserError
from runner.exit_codes import FAILED, SUCCEEDED

if TYPE_CHECKING:
    from runner.control.launching.checks import StartOptions
    from runner.storage.store import Store


@click.command()
@run_argument
@click.option("--against", metavar="RUN", help="Launch nothing: compare with this run.")
@click.option("--name", metavar="NAME", help="The new run's id.")
@start_options
@json_option
@store_option
def reproduce(
    store: "Store",
    run: str,
    against: str | None,
    name: str | None,
    options: "StartOptions",
    yes: bool,
    as_json: bool,
) -> None:
    """Launch the same training again, and say whether the result is identical.

    The run's record is what is launched: its recipe's file is not needed, its data files are those in the store, and
    names on the hub are pinned to the commits that it found. Exits 0 if every number and every file is the same, bit
    for bit, and 1 if not; then it says from which step the curves part, and what differs: settings, data, code,
    libraries, hardware.

    \b
    Example:
      runner reproduce last
      runner reproduce quickstart-ab12 --gpu A100
      runner reproduce quickstart-ab12 --against quickstart-cd34
    """
    from runner.control.launching.checks import StartOptions
    from runner.control.results.reproduce import compare_reproduction
    from runner.runs.listing import find_run

    run_id = find_run(store, run)
    if against is not None:
        other = find_run(store, against)
        if name is not None or options.fields() != StartOptions().fields():
            raise UserError("nothing is launched with it", where="--against", remedy="leave the other options out")
    else:
        from runner.cli.confirm import ask_on_terminal
        from runner.cli.follow import follow
        from runner.cli.hints import as_typed
        from runner.control.results.again import AgainOptions, Talk
        from runner.control.results.reproduce import reproduce as start

        again = AgainOptions(
            name=name,
            **options.fields(),
        )
        talk = Talk(confirm=ask_on_terminal(yes=yes), say=say, typed=as_typed, output=other_output())
        launched = start(store, run_id, again, talk=talk)
        other = launched.run_id
        if options.detach:
            code = follow(store, launched, detach=True, as_json=as_json)
            say(f"`{as_typed(f'reproduce {run_id} --against {other}')}` compares them when it has ended")
            raise click.exceptions.Exit(code)
        code = follow(store, launched, detach=False, as_json=False)
        if code not in (SUCCEEDED, FAILED):
            raise click.exceptions.Exit(code)
    found = compare_reproduction(store, run_id, other)
    if as_json:
        print_json(found.as_json())
    else:
        for sentence in found.sentences():
            show(sentence)
    raise click.exceptions.Exit(SUCCEEDED if found.identical else FAILED)
