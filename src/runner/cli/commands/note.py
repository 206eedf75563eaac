"""``runner note``."""

from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, store_option
from runner.cli.output import print_json, show

if TYPE_CHECKING:
    from runner.storage.store import Store


@click.command()
@click.argument("words", metavar="RUN... [TEXT]", nargs=-1, required=True)
@json_option
@store_option
def note(store: "Store", words: tuple[str, ...], as_json: bool) -> None:
    """Write a note on runs, or show the one that a run has.

    RUN is a run's id, the beginning or the end of one, `last`, a pattern such as 'quickstart-*', or a sweep: its
    trials. The last word is the text, which takes the place of the note before; an empty one removes it.

    \b
    Example:
      runner note last "too high a learning rate"
      runner note last
      runner note last ""
    """
    from runner.control.keeping.mark import note_runs
    from runner.control.results.comparing.choose import choose_runs
    from runner.runs.marks.marks import marks_of

    runs, text = (words[:-1], words[-1]) if len(words) > 1 else (words, None)
    run_ids = choose_runs(store, runs, everything=True, on_damaged=lambda run_id, error: None).run_ids
    if text is not None:
        note_runs(store, run_ids, text)
    found = marks_of(store, run_ids)
    notes = {run_id: found[run_id].note if run_id in found else None for run_id in run_ids}
    if as_json:
        print_json([{"run_id": run_id, "note": written} for run_id, written in notes.items()])
        return
    for run_id, written in notes.items():
        show(f"{run_id}  {written or '-'}")
