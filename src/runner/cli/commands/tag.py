"""``runner tag``."""

from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, store_option
from runner.cli.output import print_json, show
from runner.errors import UserError

if TYPE_CHECKING:
    from runner.storage.store import Store


@click.command()
@click.argument("words", metavar="RUN... [TAG]", nargs=-1, required=True)
@click.option("--remove", "-r", is_flag=True, help="Take the tag from the runs.")
@json_option
@store_option
def tag(store: "Store", words: tuple[str, ...], remove: bool, as_json: bool) -> None:
    """Give runs a tag, or take it from them.

    RUN is a run's id, the beginning or the end of one, `last`, a pattern such as 'quickstart-*', or a sweep: its
    trials. The last word is the tag, or several with commas between them; one word alone shows the tags of a run.
    What has the tag `keep` is left alone by `runner rm` and `runner gc`.

    \b
    Example:
      runner tag last keep
      runner tag 'quickstart-*' baseline,2026-q1
      runner tag last keep --remove
    """
    from runner.control.keeping.mark import tag_runs
    from runner.control.results.comparing.choose import choose_runs

    if remove and len(words) == 1:
        raise UserError("no tag to remove", where="--remove", remedy=f"write it: `runner tag {words[0]} TAG --remove`")
    runs, tags = (words[:-1], words[-1:]) if len(words) > 1 else (words, ())
    chosen = choose_runs(store, runs, everything=True, on_damaged=lambda run_id, error: None)
    found = tag_runs(store, chosen.run_ids, tags, remove=remove)
    if as_json:
        print_json([{"run_id": run_id, "tags": sorted(marks.tags)} for run_id, marks in found.items()])
        return
    for run_id, marks in found.items():
        show(f"{run_id}  {', '.join(sorted(marks.tags)) or '-'}")
