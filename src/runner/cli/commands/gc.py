"""``runner gc``."""

from typing import TYPE_CHECKING

import click

from runner.cli.confirm import ask_before_deleting
from runner.cli.options import json_option, store_option
from runner.cli.output import print_json, say, show
from runner.errors import UserError

if TYPE_CHECKING:
    from runner.control.keeping.gc import Garbage
    from runner.storage.store import Store

_SHOWN = 30


@click.command()
@click.option("--older-than", metavar="AGE", help="Only of runs that ended longer ago, such as 12h, 7d or 4w.")
@click.option(
    "--keep-last",
    metavar="N",
    type=click.IntRange(min=1),
    help="Also checkpoints of ended runs, but for the N newest of each and the best.",
)
@click.option("--runs", is_flag=True, help="Also whole runs that ended longer ago than --older-than.")
@click.option("--dry-run", "-n", is_flag=True, help="Show what would be deleted, and delete nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
@store_option
def gc(
    store: "Store", older_than: str | None, keep_last: int | None, runs: bool, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Delete what nothing needs any more.

    That is what killed attempts have left half written, checkpoints and artifacts that no command reads, uploads that
    were never completed, and work folders of ended runs on this machine. Runs that have not ended, runs with the tag
    `keep`, and what others were made from are left alone.

    \b
    Example:
      runner gc --dry-run
      runner gc --keep-last 1 --older-than 7d
      runner gc --runs --older-than 90d
    """
    from datetime import timedelta

    from runner.cli.moments import seconds_written
    from runner.control.keeping.gc import collect, find_garbage
    from runner.reports.tables import size, text_table

    if runs and older_than is None:
        raise UserError("which runs?", where="--runs", remedy="say how long ago they ended: `--older-than 90d`")
    age = None if older_than is None else timedelta(seconds=seconds_written(older_than, "--older-than"))
    garbage = find_garbage(store, older_than=age, keep_last=keep_last, runs=runs)
    if as_json and (dry_run or not garbage.items):
        print_json(_document(garbage, deleted=False))
        return
    if not garbage.items:
        say("nothing to delete")
        return
    if not as_json:
        rows = [(item.kind, item.run_id or "-", item.name, size(item.size)) for item in garbage.items]
        show(text_table(["WHAT", "RUN", "NAME", "SIZE"], rows[:_SHOWN], right=[3]))
        if len(rows) > _SHOWN:
            say(f"and {len(rows) - _SHOWN} more; `--json` has all")
        totals = [(kind, size(count)) for kind, count in garbage.bytes_by_kind.most_common()]
        show("\n" + text_table(["WHAT", "SIZE"], [*totals, ("all", size(garbage.size))], right=[1]))
    if dry_run:
        say(f"would free {size(garbage.size)}; nothing is deleted")
        return
    ask_before_deleting(f"Delete this, {size(garbage.size)}, for good?", yes=yes, command="runner gc")
    freed = collect(store, garbage)
    if as_json:
        print_json(_document(garbage, deleted=True))
    say(f"freed {size(freed)}")


def _document(garbage: "Garbage", *, deleted: bool) -> dict[str, object]:
    return {
        "deleted": deleted,
        "bytes": garbage.size,
        "bytes_by_kind": dict(garbage.bytes_by_kind),
        "items": [
            {"kind": item.kind, "run_id": item.run_id, "name": item.name, "bytes": item.size} for item in garbage.items
        ],
    }
