"""What a sweep is, from its file and what is asked for on the command line: its definition and its workers."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from blake3 import blake3

from runner import __version__
from runner.backends.base import Placement
from runner.backends.registry import worker_backend_for
from runner.backends.workers import SweepWorkers
from runner.control.launching.budget import chosen_budget, has_price
from runner.control.launching.checks import CheckedLaunch, PlaceOptions
from runner.control.launching.settled import settled_max_cost
from runner.control.launching.submit import checked_name, new_run_id
from runner.errors import UserError
from runner.runs.submission.portable import PortableRecipe
from runner.sweeps.definition import Definition, Scheduler
from runner.sweeps.layout import LONGEST_SWEEP_ID
from runner.sweeps.space.file import RunnerSection
from runner.sweeps.space.files import paths_of
from runner.sweeps.space.load import LoadedSweep
from runner.sweeps.space.space import Space
from runner.sweeps.state import SweepState

THIS_MACHINE = "machine"
"""The name of the price of this machine, among those by accelerator."""

FEW_WORKERS = 4
"""So many wait for each other at a rung at little cost: synchronous halving then needs the fewest GPU hours."""


@dataclass(frozen=True, kw_only=True)
class SweepOptions(PlaceOptions):
    """What a sweep is asked for; the file's section `runner:` decides what is left open here."""

    file: str
    """A sweep's name, or a path."""
    overrides: Sequence[str] = ()
    """``KEY=VALUE`` each: settings of the recipe for all trials."""
    name: str | None = None
    """The sweep's id; None for a fresh one."""
    parallel: int | None = None
    """How many workers."""
    run_cap: int | None = None
    """The most trials."""
    max_cost: float | None = None
    """The most that the sweep may cost, in US dollars."""
    max_hours: float | None = None
    """The most hours of the clock in which it has workers."""
    known: Sequence[str] = ()
    """Sweeps and runs whose results count."""
    detach: bool = False
    """Whether the workers go on in the background."""
    cwd: Path = field(default_factory=Path.cwd)
    """The folder that relative paths begin in."""


def define_sweep(
    loaded: LoadedSweep, options: SweepOptions, checked: CheckedLaunch, portable: PortableRecipe
) -> Definition:
    """Put together what ``sweep.json`` will hold.

    Raises:
        UserError: the sweep would have no end, or its name cannot be an id.
    """
    file, section = loaded.file, loaded.file.runner
    now = datetime.now(UTC)
    run_cap = file.run_cap if options.run_cap is None else options.run_cap
    placement = checked.placement.fields()
    parallel = options.parallel or section.parallel or _default_parallel(placement["infra"], section, run_cap)
    scheduler = choose_scheduler(loaded, run_cap=run_cap, parallel=parallel)
    max_cost = options.max_cost
    if max_cost is None:
        priced = has_price(None, placement["resources"])
        max_cost = settled_max_cost(has_price=priced, said_by_file=section.max_cost)
    max_hours = section.max_hours if options.max_hours is None else options.max_hours
    if file.method != "grid" and run_cap is None and max_cost is None and max_hours is None:
        raise UserError(
            f"`method: {file.method}` draws for ever",
            where=str(loaded.path),
            remedy="write `run_cap: 27` (or --run-cap), or a budget: --max-cost or --max-hours",
        )
    return Definition(
        sweep_id=_sweep_id(options.name, file.name, now),
        name=file.name,
        created_at=now.isoformat(timespec="seconds"),
        runner_version=__version__,
        file=loaded.document,
        method=file.method,
        seed=section.seed,
        space=loaded.space.to_mapping(),
        metric=loaded.metric.name,
        goal=loaded.metric.goal,
        target=loaded.metric.target,
        run_cap=run_cap,
        scheduler=scheduler,
        rungs=() if scheduler == "none" else loaded.rungs[:-1],
        max_steps=loaded.rungs[-1] if loaded.rungs else None,
        schedule=section.schedule,
        eta=file.eta,
        strict=scheduler != "stop" or file.early_terminate is None or file.early_terminate.strict,
        retries=section.retries,
        max_cost=max_cost,
        max_hours=max_hours,
        resolved=checked.prepared.recipe,
        recipe=portable.to_mapping(),
        paths={key: str(path) for key, path in portable.inputs.items()},
        recipe_name=loaded.recipe.path.name,
        recipe_digest=blake3(loaded.recipe.path.read_bytes()).hexdigest(),
        git_revision=checked.git_revision,
        infra=placement["infra"],
        accelerators=placement["accelerators"],
        resources=placement["resources"],
        num_nodes=placement["num_nodes"],
        image=placement["image"],
        parallel=parallel,
        gpus_per_trial=section.gpus_per_trial or 1,
        trials_per_gpu=section.trials_per_gpu or 1,
        prices=_prices(placement["resources"]),
    )


def _default_parallel(infra: str, section: RunnerSection, run_cap: int | None) -> int:
    """As many trials at once as this machine has room for, but not more than there are; one on machines elsewhere."""
    room = worker_backend_for(infra).default_count(
        gpus_per_trial=section.gpus_per_trial, trials_per_gpu=section.trials_per_gpu or 1
    )
    return room if run_cap is None else min(room, run_cap)


def _prices(resources: Mapping[str, Any] | None) -> dict[str, float]:
    if resources is None:
        stated = chosen_budget(None, None, None).hourly_cost
        return {} if stated is None else {THIS_MACHINE: stated}
    from runner.planning.prices import hourly_prices, load_prices  # not above: a sweep on this machine has no price

    return hourly_prices(resources, load_prices())


def choose_scheduler(loaded: LoadedSweep, *, run_cap: int | None, parallel: int) -> Scheduler:
    """Return who goes on after a rung: what the file says, or what suits the number of workers.

    With few workers, synchronous successive halving needs the fewest GPU hours, and they wait little; with more, or
    with as many trials as the budget gives, the delayed asynchronous rule, in which nobody waits. W&B's own rule where
    the file has ``strict: false``: only that one holds a trial's best value so far against the others.

    Raises:
        UserError: the file asks for a rule that needs to know the number of trials.
    """
    asked, early = loaded.file.runner.scheduler, loaded.file.early_terminate
    if asked is None and early is not None and not early.strict:
        asked = "stop"
    if asked == "none" or len(loaded.rungs) <= 1:
        return "none"
    cap = run_cap if loaded.file.method != "grid" else grid_size(loaded)
    if asked in ("successive_halving", "hyperband") and cap is None:
        raise UserError(
            f"`scheduler: {asked}` halves a number of trials that is known",
            where=str(loaded.path),
            remedy="write `run_cap: 27` (or --run-cap), or `scheduler: asha`",
        )
    if asked is not None:
        return asked
    return "successive_halving" if cap is not None and parallel <= FEW_WORKERS else "asha"


def grid_size(loaded: LoadedSweep) -> int | None:
    """How many points the grid has; None where there is none."""
    grid = loaded.space.grid()
    return None if grid is None else grid.size


def planned_trials(loaded: LoadedSweep, definition: Definition) -> int | None:
    """How many trials are drawn; None: as many as the budget gives."""
    if definition.method != "grid":
        return definition.run_cap
    size = grid_size(loaded)
    return definition.run_cap if size is None else min(size, definition.run_cap or size)


def _sweep_id(name: str | None, file_name: str, now: datetime) -> str:
    if name is None:
        return new_run_id(checked_sweep_name(file_name)[: LONGEST_SWEEP_ID - 25], now)
    checked = checked_name(name)
    if len(checked) > LONGEST_SWEEP_ID:
        raise UserError(
            f"{name!r} has {len(name)} characters", where="--name", remedy=f"use at most {LONGEST_SWEEP_ID}"
        )
    return checked


def checked_sweep_name(name: str) -> str:
    """A sweep's name as a part of an id: lower-case letters, digits, hyphens."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._") or "sweep"


def workers_of(
    definition: Definition, placement: Placement, *, count: int, state: SweepState | None = None
) -> SweepWorkers:
    """Return what is asked of a backend for so many workers of a sweep; `state`: of one that has begun."""
    spaces = [definition.space, *([] if state is None or state.space is None else [state.space])]
    return SweepWorkers(
        sweep_id=definition.sweep_id,
        placement=placement,
        count=count,
        sky=definition.resolved.get("sky") or {},
        recipe=definition.resolved,
        paths=paths_of(PortableRecipe.from_mapping(definition.recipe), map(Space.from_mapping, spaces)),
        gpus_per_trial=definition.gpus_per_trial if definition.gpus_per_trial > 1 else None,
        trials_per_gpu=definition.trials_per_gpu,
    )
