"""Launch a sweep: check all of it, write it to the store, and start workers that take its trials."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING

from runner.backends.base import ResourceOptions
from runner.backends.registry import backend_for, infra_for, worker_backend_for
from runner.backends.workers import WorkersRequest
from runner.control.launching.checks import CheckedLaunch, PlaceOptions, check_launch, check_what_it_needs
from runner.control.launching.cost import CostQuestion, ask_above, has_to_ask
from runner.control.launching.settled import settled_resources
from runner.control.launching.start import make_reporter
from runner.control.recipes.warm_start import start_resolver
from runner.control.sweeping.define import SweepOptions, define_sweep, grid_size, planned_trials, workers_of
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
from runner.sweeps.definition import Definition, write_definition
from runner.sweeps.events import Event
from runner.sweeps.journal import Journal
from runner.sweeps.layout import sweep_key
from runner.sweeps.space.files import drawn_files
from runner.sweeps.space.load import LoadedSweep, load_sweep

if TYPE_CHECKING:
    from runner.control.launching.cost import Confirm


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
    since: int = 0
    """The newest entry of its journal before that: whoever follows it has not asked for what is older."""


def prepare_sweep(store: Store, options: SweepOptions, *, say: Callable[[str], None]) -> PreparedSweep:
    """Check a sweep: its file, its recipe with every value that can be drawn, and the machines.

    Raises:
        UserError: something is wrong; all of the file's problems are listed at once.
    """
    loaded = load_sweep(options.file, overrides=options.overrides, cwd=options.cwd, start=start_resolver(store))
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
    portable = portable_recipe(loaded.recipe, drawn=drawn_files(loaded.space), cwd=options.cwd)
    definition = define_sweep(loaded, options, checked, portable)
    if definition.max_cost is not None and not definition.prices:
        say(
            "max_cost: nothing is known of what these machines cost, so that it limits nothing; for this machine, "
            "RUNNER_HOURLY_COST=1.20 says it"
        )
    workers = workers_of(definition, checked.placement, count=definition.parallel)
    request = worker_backend_for(checked.placement.infra).request(
        store.url, workers, environment=list(checked.environment)
    )
    plan = plan_sweep(
        definition,
        loaded.recipe.recipe,
        loaded.space,
        checked.placement.machines,
        trials=planned_trials(loaded, definition),
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
        say(describe_rule(prepared.definition))
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
    resources = settled_resources(resources, loaded.recipe.recipe.resources)
    return PlaceOptions(resources=resources, image=options.image, env_files=options.env_files, secrets=options.secrets)


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
    refuse_if_nothing_fits(unfit, grid_size(prepared.loaded) or 0, where=str(prepared.loaded.path))
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


def describe_rule(definition: Definition) -> str:
    """Return who goes on from a rung; the definition has rungs."""
    share = f"1 in {definition.eta:g}"
    rules = {
        "successive_halving": f"of all trials that come to a rung, the best {share} goes on as soon as that is certain",
        "asha": f"of the trials that have come to a rung so far, the best {share} goes on",
        "hyperband": f"brackets begin at later and later rungs; of the trials of each, the best {share} goes on",
        "stop": f"a trial that comes to a rung behind the best {share} so far stops, and the others go on",
    }
    return f"{rules[definition.scheduler]} (runner.scheduler: {definition.scheduler})"


def _describe_schedule(definition: Definition) -> str:
    if definition.schedule == "rung":
        return "the learning rate's schedule ends at each rung, and is a longer one after it (runner.schedule: rung)"
    return "the learning rate's schedule is that of the full length from the start (runner.schedule: full)"


def _known(store: Store, options: SweepOptions, prepared: PreparedSweep, say: Callable[[str], None]) -> list[Event]:
    if not options.known:
        return []
    from runner.control.sweeping.known import known_results

    return known_results(store, options.known, prepared.definition, say=say)
