"""Go on with a sweep that was stopped, whose budget was spent, or whose workers are gone."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import IO, Any, cast

from runner.backends.base import Placement, ResolvedResources
from runner.backends.environment import chosen_environment
from runner.backends.registry import backend_for, infra_for, worker_backend_for
from runner.control.launching.checks import PlaceOptions
from runner.control.launching.start import make_reporter
from runner.control.sweeping.define import workers_of
from runner.control.sweeping.launch import LaunchedSweep
from runner.control.sweeping.stop import note_lost
from runner.errors import UserError
from runner.recipe.recipe import Recipe
from runner.recipe.webhooks import webhook_variables
from runner.storage.store import Store
from runner.sweeps.controller import Controller
from runner.sweeps.definition import Definition, read_definition, refuse_other_version
from runner.sweeps.ending import end_by_target, reason_to_stop
from runner.sweeps.events import Event
from runner.sweeps.journal import Journal
from runner.sweeps.snapshot import make_snapshot, restore_snapshot
from runner.sweeps.state import SweepState
from runner.sweeps.workers.launches import needed_worker_environment


@dataclass(frozen=True, kw_only=True)
class ResumeSweepOptions(PlaceOptions):
    """What going on with a sweep is asked for; what is not asked for now stays as it was."""

    sweep_id: str
    """The sweep."""
    parallel: int | None = None
    """How many workers are started."""
    run_cap: int | None = None
    """The most trials, from now on."""
    max_cost: float | None = None
    """The most that the whole sweep may cost, in US dollars, what it has cost so far included."""
    max_hours: float | None = None
    """The most hours of the clock in which it has workers, those so far included."""
    detach: bool = False
    """Whether the workers go on in the background."""


def resume_sweep(
    store: Store,
    options: ResumeSweepOptions,
    *,
    say: Callable[[str], None],
    typed: Callable[[str], str] | None = None,
    output: IO[str] | None = None,
) -> LaunchedSweep:
    """Have a sweep go on, with new workers, where it was or elsewhere.

    Raises:
        UserError: there is nothing left to do, its budget is spent, or no machine would do. Nothing was started.
    """
    definition = read_definition(store, options.sweep_id)
    journal = Journal(store, definition, by="resume")
    note_lost(store, journal)
    placement = _placement(definition, options, say)
    needed = sorted({*needed_worker_environment(store, options.sweep_id), *webhook_variables(definition.resolved)})
    environment = chosen_environment(options.env_files, options.secrets, needed=needed)
    if backend_for(placement.infra).shares_environment:
        refuse_other_version(definition)
    backend = worker_backend_for(placement.infra)
    count = options.parallel or definition.parallel
    workers = workers_of(definition, placement, count=count, state=journal.state)
    request = backend.request(store.url, workers, environment=list(environment))
    refuse_if_nothing_is_left(definition, journal.state, _resumed(journal.state, options))
    since = journal.state.number
    journal.append(lambda state: _resumed(state, options))
    backend.start(
        store, request, environment=environment, detach=options.detach, reporter=make_reporter(say, typed, output)
    )
    return LaunchedSweep(
        sweep_id=options.sweep_id,
        definition=definition,
        detached=options.detach or not backend_for(placement.infra).supervised_here,
        since=since,
    )


def refuse_if_nothing_is_left(definition: Definition, state: SweepState, events: Sequence[Event]) -> None:
    """Refuse a sweep whose budget is spent, or that has ended for good, before any machine is paid for.

    Args:
        definition: the sweep.
        state: what has happened.
        events: what would be written.

    Raises:
        UserError: so it is. Nothing has been written.
    """
    now = datetime.now(UTC)
    resumed = restore_snapshot(
        json.loads(json.dumps(make_snapshot(state))), rungs=state.rung_count, sign=definition.sign
    )
    for event in events:
        resumed.apply_event(event, now.isoformat())
    if (reason := reason_to_stop(definition, resumed, now=now)) is not None:
        remedy = "go on with a larger --max-cost, or --max-hours"
        raise UserError(reason, where=definition.sweep_id, remedy=remedy)
    if state.ended is not None and (reason := Controller(definition).nothing_left(resumed)) is not None:
        raise UserError(
            f"nothing is left to train: {reason}", where=definition.sweep_id, remedy=_what_gives_more(definition, state)
        )


def _what_gives_more(definition: Definition, state: SweepState) -> str:
    """What a person may do who wants an ended sweep to go on."""
    sweep_id = definition.sweep_id
    if end_by_target(definition, state) is not None:
        return f"launch a sweep with another `metric.target`: `--from {sweep_id}` takes these results along"
    more = [f"`--run-cap {2 * len(state.trials)}` draws more trials"]
    if (state.method or definition.method) == "grid":
        more = [f"`runner sweep change {sweep_id} FILE` gives it another space"]
    if any(trial.state == "failed" for trial in state.trials.values()):
        more.append(f"`runner sweep retry {sweep_id}` lets failed trials be trained again")
    return "; ".join(more)


def _resumed(state: SweepState, options: ResumeSweepOptions) -> Sequence[Event]:
    asked: dict[str, Any] = {
        name: getattr(options, name)
        for name in ("max_cost", "max_hours", "run_cap")
        if getattr(options, name) is not None
    }
    if state.ended is None and state.stop is None and not asked:
        return []
    return [cast(Event, {"event": "resumed", **asked})]


def _placement(definition: Definition, options: ResumeSweepOptions, say: Callable[[str], None]) -> Placement:
    """Where the workers run now: where they were, or where the options say."""
    before = {
        "infra": definition.infra,
        "accelerators": definition.accelerators,
        "resources": definition.resources,
        "num_nodes": definition.num_nodes,
        "image": definition.image,
        "recipe": definition.resolved,
    }
    if not options.resources.any and options.image is None:
        machines = None
        if definition.resources is not None:
            machines = ResolvedResources(
                resources=definition.resources,
                num_nodes=definition.num_nodes,
                infra=definition.infra,
                accelerators=definition.accelerators,
                notes=(),
            )
        return Placement(infra=definition.infra, image=definition.image, machines=machines)
    resources = options.resources
    if not resources.infra and resources.any:
        resources = replace(resources, infra=(definition.infra,) if definition.resources is not None else ())
    backend = backend_for(infra_for(resources, None))
    backend.check(resources, cluster=None, image=options.image)
    recipe = Recipe.from_mapping(definition.resolved)
    placement = backend.resolve(
        recipe, resources, image=options.image, before=before if definition.resources is not None else None
    )
    for note in placement.notes:
        say(note)
    return placement
