"""``runner sweep best``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.options import json_option, store_option, sweep_argument
from runner.cli.output import print_json, say, show
from runner.errors import UserError

if TYPE_CHECKING:
    from runner.control.sweeping.best import BestTrial
    from runner.storage.store import Store


@click.command()
@sweep_argument
@click.option("--top", metavar="K", type=click.IntRange(min=1), default=1, help="The K best trials, the best first.")
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the recipe into this file, which must be new, and fetch beside it the data files that are not on this "
    "machine. With --top, the others become FILE-2, FILE-3, …",
)
@json_option
@store_option
def best(store: "Store", sweep: str, top: int, out: Path | None, as_json: bool) -> None:
    """Print the recipe of a sweep's best trial, ready to be launched.

    A trial that was trained to its end comes before all that were not. The recipe is the one that was swept, with the
    trial's values; the run of the trial itself has the trained model (`runner pull RUN`).

    \b
    Example:
      runner sweep best last --out best.yaml
      runner sweep best last --top 3 --json
    """
    from runner.control.sweeping.best import best_trials
    from runner.control.sweeping.find import find_sweep

    files = [] if out is None else [out, *(out.with_stem(f"{out.stem}-{place}") for place in range(2, top + 1))]
    for file in files:
        if file.exists():
            raise UserError("there is a file of that name", where=str(file), remedy="name another, or remove it")
        if not file.parent.is_dir():
            raise UserError("there is no folder for it", where=str(file), remedy="create it, or name another")
    beside = None if out is None else out.absolute().parent
    definition, found = best_trials(store, find_sweep(store, sweep), top=top, beside=beside, say=say)
    if as_json:
        print_json([_row(one) for one in found])
    for one, file in zip(found, files, strict=False):
        file.write_text(one.as_yaml(definition), encoding="utf-8")
    if out is None and not as_json:
        show("---\n".join(one.as_yaml(definition) for one in found), nl=False)
    for index, one in enumerate(found):
        written_to = files[index] if files else None
        value = "no number" if one.value is None else f"{one.value:.6g}"
        end = "" if one.is_finished else ", where it waits: it was not trained to its end"
        written = "" if written_to is None else f"; `runner launch {written_to}` trains it again"
        say(f"trial {one.trial.number}, run {one.run_id}: {definition.metric} {value} at step {one.step}{end}{written}")
    if len(found) < top:
        say(f"only {len(found)} trials have a {definition.metric}")
    for name in dict.fromkeys(name for one in found for name in one.missing):
        say(f"{name} is not on this machine as it was; `--out FILE` fetches it from the sweep")


def _row(one: "BestTrial") -> dict[str, object]:
    return {
        "place": one.place,
        "trial": one.trial.number,
        "run_id": one.run_id,
        "value": one.value,
        "step": one.step,
        "finished": one.is_finished,
        "parameters": one.trial.values,
        "recipe": one.recipe,
        "missing": list(one.missing),
    }
