"""``runner rm``."""

from typing import TYPE_CHECKING

import click

from runner.cli.confirm import ask_before_deleting
from runner.cli.options import json_option, store_option
from runner.cli.output import print_json, say, show

if TYPE_CHECKING:
    from runner.storage.store import Store


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--dry-run", "-n", is_flag=True, help="Show what would be deleted, and delete nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
@store_option
def rm(store: "Store", runs: tuple[str, ...], dry_run: bool, yes: bool, as_json: bool) -> None:
    """Delete runs, or a sweep with its trials.

    RUN is a run's id, the beginning or the end of one, `last`, a pattern such as 'quickstart-*', or a sweep. What has
    not ended, what has the tag `keep`, and what another run was made from stays. A deletion that was cut
    short is finished by the same command.

    \b
    Example:
      runner rm quickstart-ab12
      runner rm 'quickstart-*' --dry-run
    """
    from runner.control.keeping.rm import plan_removal, remove
    from runner.reports.tables import size, text_table

    removal = plan_removal(store, runs)
    if as_json and dry_run:
        print_json(_document(removal, deleted=False))
        return
    for run_id, why in removal.left.items():
        say(f"{run_id} stays: {why}")
    kinds = [(kind, size(count)) for kind, count in sorted(removal.bytes_by_kind.items(), key=lambda item: -item[1])]
    if not as_json:
        names = [*(f"sweep {sweep_id}" for sweep_id in removal.sweep_ids), *removal.run_ids]
        show("\n".join(names))
        if kinds:
            show(text_table(["WHAT", "SIZE"], [*kinds, ("all", size(removal.size))], right=[1]))
    what = f"{len(removal.run_ids)} runs" if len(removal.run_ids) != 1 else removal.run_ids[0]
    if dry_run:
        say(f"would delete {what}, {size(removal.size)}; nothing is deleted")
        return
    if not (removal.run_ids or removal.sweep_ids):
        say("nothing to delete")
        return
    ask_before_deleting(f"Delete {what}, {size(removal.size)}, for good?", yes=yes, command="runner rm")
    remove(store, removal, say=say)
    if as_json:
        print_json(_document(removal, deleted=True))
    say(f"deleted {what}, {size(removal.size)}")


def _document(removal: object, *, deleted: bool) -> dict[str, object]:
    from runner.control.keeping.rm import Removal

    assert isinstance(removal, Removal)
    return {
        "deleted": deleted,
        "runs": removal.run_ids,
        "sweeps": removal.sweep_ids,
        "bytes": removal.size,
        "bytes_by_kind": dict(removal.bytes_by_kind),
        "left": removal.left,
    }
