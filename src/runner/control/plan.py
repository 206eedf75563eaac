"""Find out on which machines a recipe fits, and for how much."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from runner.control.recipes.warm_start import start_resolver
from runner.fit.accelerators import parse_accelerators
from runner.fit.changes import nearest_change
from runner.fit.fit import workloads
from runner.hub.model_config import model_config
from runner.planning.measure import measure_rows
from runner.planning.plan import Row, plan
from runner.planning.prices import load_prices
from runner.recipe.inputs.model_folder import config_is_enough
from runner.recipe.loading.load import load_recipe


@dataclass(frozen=True, kw_only=True)
class RecipePlan:
    """The ways to run a recipe."""

    rows: Sequence[Row]
    """One for each machine and offer, the cheapest first; what does not fit comes last."""
    prices: str
    """Where the prices are from."""
    changes: Mapping[str, str]
    """For each GPU that it does not fit, by SkyPilot's form, the smallest change that makes it fit, if there is one."""
    notes: Sequence[str]
    """What the estimates of the rows that fit assume."""


def plan_recipe(
    recipe: str, *, gpus: Sequence[str], nodes: int, spot: bool | None, overrides: Sequence[str], cwd: Path
) -> RecipePlan:
    """Estimate how a recipe runs on each machine. Nothing is started; of the hub, only the model's config is read.

    Args:
        recipe: a name or a path.
        gpus: ``A100`` or ``h100:8`` each; none for every GPU that is known.
        nodes: how many machines.
        spot: whether spot machines are taken; None for what the recipe says.
        overrides: ``KEY=VALUE`` each.
        cwd: where relative paths begin.

    Raises:
        UserError: the recipe is wrong, a GPU is unknown, or the model's config cannot be read.
    """
    wanted = [parse_accelerators(gpu, where="--gpu") for gpu in gpus]
    with config_is_enough():
        loaded = load_recipe(recipe, overrides=overrides, cwd=cwd, start=start_resolver()).recipe
    if spot is None:
        spot = bool(loaded.resources.get("use_spot"))
    offers = load_prices()
    config = model_config(loaded)
    lengths = [measure_rows(stage) for stage in loaded.in_order]
    rows = plan(loaded, config, offers, wanted=wanted, nodes=nodes, spot=spot, lengths=lengths)
    changes = {}
    works = workloads(loaded, config, lengths)
    for row in rows:
        if row.fit.is_too_large:
            accelerator, devices = parse_accelerators(row.fit.accelerators)
            if change := nearest_change(works, accelerator, devices=devices, nodes=nodes):
                changes[row.fit.accelerators] = change
    notes = dict.fromkeys(note for row in rows if row.fit.fits for note in row.as_json()["notes"])
    if (old := offers.too_old(date.today())) is not None:
        notes[old] = None
    return RecipePlan(rows=rows, prices=offers.source, changes=changes, notes=list(notes))
