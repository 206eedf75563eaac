"""Launch a sweep: check all of it, write it to the store, and start workers that take its trials."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from blake3 import blake3

from runner import __version__
from runner.backends.base import Placement, ResourceOptions
from runner.backends.registry import backend_for, infra_for, worker_backend_for
from runner.backends.workers import SweepWorkers, WorkersRequest
from runner.control.launching.checks import CheckedLaunch, PlaceOptions, check_launch, check_what_it_needs
from runner.control.launching.cost import CostQuestion, ask_above, has_to_ask
from runner.control.launching.start import make_reporter
from runner.control.launching.submit import checked_name, new_run_id
from runner.control.sweeping.plan import (
    SweepPlan,
    plan_sweep,
    points_that_do_not_fit,
    refuse_crowded_gpu,
    refuse_if_nothing_fits,
)
from runner.distribution import install_command
from runner.errors import UserError
from runner.recipe.packages import is_installed
from runner.runs.submission.portable import PortableRecipe, portable_recipe
from runner.storage.store import Store
from runner.sweeps.definition import Definition, Scheduler, write_definition
from runner.sweeps.events import Event
from runner.sweeps.journal import Journal
from runner.sweeps.layout import LONGEST_SWEEP_ID, sweep_key
from runner.sweeps.space.file import RunnerSection
from runner.sweeps.space.load import LoadedSweep, load_sweep

if TYPE_CHECKING:
    from runner.control.launching.cost import Confirm

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


@dataclass(frozen=True, kw_only=True)
class PreparedSweep:
    """A sweep that has been checked as far as this machine can tell. Nothing is written or started."""

    loaded: LoadedSweep
    """The file and its recipe."""
    checked: CheckedLaunch
    """Where its trials run, and with what."""
    definition: Definition
    """What ``sweep.json`` will hold."""
    portable: PortableRecipe
    """The recipe as the workers get it."""
    plan: SweepPlan
    """What it will take."""
    request: WorkersRequest
    """Exactly what the backend will be sent for the workers."""


@dataclass(frozen=True, kw_only=True)
class LaunchedSweep:
    """A sweep whose workers have been started."""

    sweep_id: str
    """Its id."""
    definition: Definition
    """What it is."""
    detached: bool
    """Whether its workers go on without this process."""


def prepare_sweep(store: Store, options: SweepOptions, *, say: Callable[[str], None]) -> PreparedSweep:
    """Check a sweep: its file, its recipe with every value that can be drawn, and the machines.

    Raises:
        UserError: something is wrong; all of the file's problems are listed at once.
    """
    loaded = load_sweep(options.file, overrides=options.overrides, cwd=options.cwd)
    for note in loaded.notes:
        say(note)
    place = _place(options, loaded)
    backend = backend_for(infra_for(place.resources, None))
    backend.check(place.resources, cluster=None, image=place.image)
    checked = check_launch(backend, loaded.recipe, place, say=say)
    if checked.placement.machines is not None and checked.placement.machines.num_nodes > 1:
        remedy = "ask for a machine with more GPUs: --gpu A100:8"
        raise UserError("a trial trains on one machine", where="--nodes", remedy=remedy)
    if loaded.file.method == "bayes" and backend.shares_environment and not is_installed("optuna"):
        raise UserError(
            "`method: bayes` draws with Optuna, which is not installed here",
            where=str(loaded.path),
            remedy=f"`{install_command('train', 'sweep')}`, or write `method: random`",
        )
    portable = portable_recipe(loaded.recipe, drawn=_drawn_settings(loaded), cwd=options.cwd)
    definition = _define(loaded, options, checked, portable)
    workers = workers_of(definition, checked.placement, count=definition.parallel)
    request = worker_backend_for(checked.placement.infra).request(
        store.url, workers, environment=list(checked.environment)
    )
    plan = plan_sweep(
        definition,
        loaded.recipe.recipe,
        loaded.space,
        checked.placement.machines,
        trials=_trials(loaded, definition),
    )
    refuse_crowded_gpu(plan, definition.trials_per_gpu, where=str(loaded.path))
    return PreparedSweep(
        loaded=loaded, checked=checked, definition=definition, portable=portable, plan=plan, request=request
    )


def launch_sweep(
    store: Store,
    options: SweepOptions,
    *,
    confirm: "Confirm",
    say: Callable[[str], None],
    typed: Callable[[str], str] | None = None,
    output: IO[str] | None = None,
) -> LaunchedSweep:
    """Check a sweep, write it to the store, and start its workers.

    Args:
        store: where the sweep lives.
        options: what is asked for.
        confirm: answers the question about the cost; called only if the sweep may cost more than the limit.
        say: receives what is worth knowing on the way.
        typed: makes a command of ours one that the person can type.
        output: where the output of other programs goes; None to drop it.

    Raises:
        UserError: something is wrong, or `confirm` said no: nothing has been started.
    """
    prepared = prepare_sweep(store, options, say=say)
    check_what_it_needs(store, prepared.checked, say=say)
    _say_what_does_not_fit(prepared, say)
    for line in prepared.plan.lines():
        say(line)
    if prepared.definition.rungs:
        say(_describe_schedule(prepared.definition))
    _confirm_cost(prepared, confirm)
    known = _known(store, options, prepared, say)
    definition = prepared.definition
    for key, path in prepared.portable.inputs.items():
        store.upload(sweep_key(definition.sweep_id, key), path)
    if not write_definition(store, definition):
        remedy = f"`runner sweep resume {definition.sweep_id}` goes on with it; or choose another --name"
        raise UserError("there is a sweep of that name", where=definition.sweep_id, remedy=remedy)
    if known:
        Journal(store, definition, by="launch").append(lambda state: known)
    say(f"sweep {definition.sweep_id} in {store.url}")
    worker_backend_for(definition.infra).start(
        store,
        prepared.request,
        environment=prepared.checked.environment,
        detach=options.detach,
        reporter=make_reporter(say, typed, output),
    )
    return LaunchedSweep(
        sweep_id=definition.sweep_id,
        definition=definition,
        detached=options.detach or not prepared.checked.backend.supervised_here,
    )


def _place(options: SweepOptions, loaded: LoadedSweep) -> PlaceOptions:
    """What is asked for on the command line; the file's section says the rest."""
    section, asked = loaded.file.runner, options.resources
    resources = replace(
        asked,
        gpus=asked.gpus or section.gpu,
        infra=asked.infra or section.infra,
        use_spot=section.use_spot if asked.use_spot is None else asked.use_spot,
        max_hourly_cost=section.max_hourly_cost if asked.max_hourly_cost is None else asked.max_hourly_cost,
    )
    if asked.infra in (("local",), ("docker",)):  # asked for by name: the file's machines are for another day
        resources = ResourceOptions(infra=asked.infra)
    return PlaceOptions(resources=resources, image=options.image, env_files=options.env_files, secrets=options.secrets)


def _define(loaded: LoadedSweep, options: SweepOptions, checked: CheckedLaunch, portable: PortableRecipe) -> Definition:
    file, section = loaded.file, loaded.file.runner
    now = datetime.now(UTC)
    run_cap = file.run_cap if options.run_cap is None else options.run_cap
    placement = checked.placement.fields()
    parallel = options.parallel or section.parallel or _default_parallel(placement["infra"], section, run_cap)
    scheduler = choose_scheduler(loaded, run_cap=run_cap, parallel=parallel)
    max_cost = section.max_cost if options.max_cost is None else options.max_cost
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
        prices={} if placement["resources"] is None else _prices(placement["resources"]),
    )


def _default_parallel(infra: str, section: RunnerSection, run_cap: int | None) -> int:
    """As many trials at once as this machine has room for, but not more than there are; one on machines elsewhere."""
    room = worker_backend_for(infra).default_count(
        gpus_per_trial=section.gpus_per_trial, trials_per_gpu=section.trials_per_gpu or 1
    )
    return room if run_cap is None else min(room, run_cap)


def _prices(resources: Mapping[str, Any]) -> dict[str, float]:
    from runner.planning.prices import hourly_prices, load_prices  # not above: a sweep on this machine has no price

    return hourly_prices(resources, load_prices())


def choose_scheduler(loaded: LoadedSweep, *, run_cap: int | None, parallel: int) -> Scheduler:
    """Return who goes on after a rung: what the file says, or what suits the number of workers.

    With few workers, synchronous successive halving needs the fewest GPU hours, and they wait little; with more, or
    with as many trials as the budget gives, the delayed asynchronous rule, in which nobody waits.

    Raises:
        UserError: the file asks for a rule that needs to know the number of trials.
    """
    asked = loaded.file.runner.scheduler
    if asked == "none" or len(loaded.rungs) <= 1:
        return "none"
    cap = run_cap if loaded.file.method != "grid" else _grid_size(loaded)
    if asked in ("successive_halving", "hyperband") and cap is None:
        raise UserError(
            f"`scheduler: {asked}` halves a number of trials that is known",
            where=str(loaded.path),
            remedy="write `run_cap: 27` (or --run-cap), or `scheduler: asha`",
        )
    if asked is not None:
        return asked
    return "successive_halving" if cap is not None and parallel <= FEW_WORKERS else "asha"


def _grid_size(loaded: LoadedSweep) -> int | None:
    grid = loaded.space.grid()
    return None if grid is None else grid.size


def _trials(loaded: LoadedSweep, definition: Definition) -> int | None:
    """How many trials are drawn; None: as many as the budget gives."""
    if definition.method != "grid":
        return definition.run_cap
    size = _grid_size(loaded)
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


def _drawn_settings(loaded: LoadedSweep) -> list[dict[str, Any]]:
    """Settings that a trial may have and that name a file: each choice of each parameter by itself."""
    choices = []
    for parameter in loaded.space.parameters:
        for value in parameter.distribution.grid() or ():
            settings = parameter.settings(value)
            if any(_may_name_a_file(path) for path in settings):
                choices.append(settings)
    return choices


def _may_name_a_file(path: str) -> bool:
    return path.startswith(("data", "stages", "model", "export")) or path in (
        "training.reward_funcs",
        "training.deepspeed",
        "training.chat_template_path",
        "training.accelerator_config",
    )


def workers_of(definition: Definition, placement: Placement, *, count: int) -> SweepWorkers:
    """Return what is asked of a backend for so many workers of a sweep."""
    return SweepWorkers(
        sweep_id=definition.sweep_id,
        placement=placement,
        count=count,
        sky=definition.resolved.get("sky") or {},
        recipe=definition.resolved,
        gpus_per_trial=definition.gpus_per_trial if definition.gpus_per_trial > 1 else None,
        trials_per_gpu=definition.trials_per_gpu,
    )


def _say_what_does_not_fit(prepared: PreparedSweep, say: Callable[[str], None]) -> None:
    machines = prepared.checked.placement.machines
    if machines is None or prepared.definition.method != "grid":
        return
    from runner.planning.feasibility import fits_on

    def reason(recipe: object) -> str | None:
        fits = fits_on(recipe, machines.num_nodes)  # type: ignore[arg-type]
        reasons = [fits(name, int(count)) for name, count in (machines.accelerators or {}).items()]
        return None if not reasons or None in reasons else reasons[0]

    unfit = points_that_do_not_fit(prepared.loaded.space, prepared.loaded.recipe.recipe, reason)
    refuse_if_nothing_fits(unfit, _grid_size(prepared.loaded) or 0, where=str(prepared.loaded.path))
    for values, why in unfit[:5]:
        shown = ", ".join(f"{name} {value}" for name, value in values.items())
        say(f"does not fit, and will be tried in smaller micro-batches at most: {shown}: {why}")
    if len(unfit) > 5:
        say(f"so do {len(unfit) - 5} more of the grid's points")


def _confirm_cost(prepared: PreparedSweep, confirm: "Confirm") -> None:
    limit = ask_above(os.environ)
    cost = prepared.plan.cost(prepared.plan.steps)
    cap = prepared.definition.max_cost
    if cost is not None and cap is not None:
        cost = min(cost[0], cap), min(cost[1], cap)
    if cost is None or not has_to_ask(cost, limit=limit):
        return
    if not confirm(CostQuestion(plan="; ".join(prepared.plan.lines()[-1:]), cost=cost, limit=limit)):
        raise UserError(
            f"not launched: it may cost more than ${limit:g}",
            where="RUNNER_ASK_ABOVE",
            remedy="set --max-cost, ask for other machines, or raise the limit",
        )


def _describe_schedule(definition: Definition) -> str:
    if definition.schedule == "rung":
        return "the learning rate's schedule ends at each rung, and is a longer one after it (runner.schedule: rung)"
    return "the learning rate's schedule is that of the full length from the start (runner.schedule: full)"


def _known(store: Store, options: SweepOptions, prepared: PreparedSweep, say: Callable[[str], None]) -> list[Event]:
    if not options.known:
        return []
    from runner.control.sweeping.known import known_results

    return known_results(store, options.known, prepared.definition, say=say)
