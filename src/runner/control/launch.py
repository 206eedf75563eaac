"""Launch a recipe: check it, decide on a new run or an interrupted one, and have a backend start it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from runner.backends.base import Backend, Placement, Request, poll_seconds
from runner.backends.environment import checked_names, chosen_environment
from runner.backends.lock import RunLock, RunLocked
from runner.backends.registry import ANY, backend_for, infra_for
from runner.control.launching.budget import chosen_budget, describe_budget, has_price, set_budget_again
from runner.control.launching.checks import CheckedLaunch, StartOptions, check_launch, check_what_it_needs
from runner.control.launching.reuse import Match, choose_by_name, choose_once, find_interrupted_run, once_name
from runner.control.launching.rows import read_all_rows
from runner.control.launching.settled import settled_max_cost, settled_resources, written_resources
from runner.control.launching.start import (
    Launched,
    acquire_run,
    closed_on_error,
    make_reporter,
    relocate,
    start,
    take_lock,
)
from runner.control.launching.submit import checked_name, new_run_document, new_run_id, submit
from runner.control.recipes.warm_start import say_start, start_resolver
from runner.errors import UserError
from runner.recipe.loading.load import load_recipe
from runner.recipe.loading.starts import ResolveStart
from runner.runs.launches import needed_environment, run_placement
from runner.runs.layout import RUNS
from runner.runs.measured.budget import Budget
from runner.runs.record_types.run import RunDocument
from runner.runs.records import run_document
from runner.runs.submission.prepare import PreparedRecipe
from runner.storage.open import check_no_credentials
from runner.storage.store import Store

if TYPE_CHECKING:
    from runner.control.launching.cost import Confirm


@dataclass(frozen=True, kw_only=True)
class LaunchOptions(StartOptions):
    """What a launch is asked for."""

    recipe: str | Mapping[str, Any]
    """A recipe's name, a path, or the recipe itself."""
    overrides: Sequence[str] = ()
    """``KEY=VALUE`` each, the key dotted, the value in YAML."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """The same as values by dotted key; they count more than `overrides`."""
    name: str | None = None
    """The run's id; an unfinished run of that name with the same settings continues. None for a fresh id."""
    once: bool = False
    """Whether it is named by what is trained (`once_name`), so that a second launch finds it; not with `name`."""
    cwd: Path = field(default_factory=Path.cwd)
    """The folder that relative paths begin in."""


class RunIsThere(Exception):
    """The run that a launch with `LaunchOptions.once` means is in the store already."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(run_id)


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """What a launch would do."""

    request: Request
    """The run's record, and exactly what the backend would be sent."""
    message: str | None
    """What the launch would say about older runs; None if nothing."""
    inputs: Sequence[Path]
    """Local files that the launch would copy to the store."""


def launch(
    store: Store,
    options: LaunchOptions,
    *,
    confirm: "Confirm",
    say: Callable[[str], None],
    typed: Callable[[str], str] | None = None,
    output: IO[str] | None = None,
) -> Launched:
    """Check a recipe, write the run to the store (or find the interrupted one that is meant), and start it.

    Args:
        store: where the run lives.
        options: what is asked for.
        confirm: answers the question about the cost; it is called only if the launch may cost more than the limit.
        say: receives what is worth knowing on the way.
        typed: makes a command of ours one that the person can type; None for ``runner COMMAND``.
        output: where the output of other programs goes, such as SkyPilot's; None to drop it.

    Raises:
        UserError: something is wrong with the recipe, the machine, the hub, or the run of that name; or `confirm`
            said no. Nothing has been started.
        RunIsThere: with `LaunchOptions.once`, if it is.
    """
    options = _settled(options)
    plan = _plan(_backend(options), options, say, start=start_resolver(store))
    if options.once and (match := _choose(store, plan)).exists:
        raise RunIsThere(match.run_id)
    loaded = plan.checked.loaded
    check_what_it_needs(store, plan.checked, say=say)
    if plan.placement.machines is not None:
        from runner.control.launching.cost import confirm_cost

        confirm_cost(loaded.recipe, plan.placement.machines, confirm=confirm, say=say)
    document, lock = _begin(store, plan, say)
    # Now, not at the end: a run that is lost sight of on the way can be asked for by its id.
    say(f"run {document['run_id']} in {store.url}")
    above, _, last = store.url.rstrip("/").rpartition("/")
    if f"{last}/" == RUNS:
        say(f"it is written to {store.url}/{RUNS}; with `--store {above}` it would be to {above}/{RUNS}")
    environment = plan.environment
    if lock is not None:
        with closed_on_error(lock):
            needed = needed_environment(store, document["run_id"])
            environment = {**environment, **chosen_environment(options.env_files, options.secrets, needed=needed)}
    return start(
        store,
        document,
        lock,
        environment=environment,
        cluster=options.cluster,
        detach=options.detach,
        reporter=make_reporter(say, typed, output),
    )


def dry_run(store: Store, options: LaunchOptions, *, say: Callable[[str], None]) -> DryRun:
    """Find out what `launch` would do; nothing is written to the store and nothing is started.

    Raises:
        UserError: something is wrong with the recipe, or with the machines that are asked for.
    """
    options = _settled(options)
    plan = _plan(_backend(options), options, say, start=start_resolver(store))
    read_all_rows(plan.checked.loaded, say=say)
    match = _choose(store, plan)
    document = plan.document(match.run_id)
    backend = plan.backend
    if match.exists and backend.supervised_here:
        document = run_placement(store, match.run_id)
        backend = backend_for(document["infra"])
    elif match.exists:
        document = cast(RunDocument, {**run_document(store, match.run_id), **plan.placement.fields()})
    request = backend.request(store.url, document, environment=list(plan.environment), cluster=options.cluster)
    return DryRun(request=request, message=match.why, inputs=sorted(plan.prepared.inputs.values()))


def render(store_url: str, options: LaunchOptions, *, say: Callable[[str], None]) -> DryRun:
    """Build what a launch to machines elsewhere would send, for a run that is not looked for in any store.

    Secrets are named in it, and need no values.

    Raises:
        UserError: a backend of this machine is asked for, or something is wrong with the recipe or the machines.
    """
    check_no_credentials(store_url)
    if any(backend_for(infra).supervised_here for infra in options.resources.infra):
        remedy = "`runner launch --dry-run` shows what a run on this machine would do"
        raise UserError("nothing is rendered for this machine", where="--infra", remedy=remedy)
    options = _settled(options, cluster="any")
    backend = backend_for(next(iter(options.resources.infra), ANY))
    plan = _plan(backend, options, say, with_environment=False, start=start_resolver())
    run_id = plan.name or new_run_id(plan.prepared.recipe["name"], datetime.now(UTC))
    names = [*checked_names(options.secrets), *plan.environment]
    request = backend.request(store_url, plan.document(run_id), environment=names)
    return DryRun(request=request, message=None, inputs=sorted(plan.prepared.inputs.values()))


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """A launch that has been checked as far as this machine can tell."""

    checked: CheckedLaunch
    name: str | None
    budget: Budget
    """What it may cost."""
    options: LaunchOptions
    """What is asked for."""

    @property
    def backend(self) -> Backend:
        """What will run it."""
        return self.checked.backend

    @property
    def prepared(self) -> PreparedRecipe:
        """What ``run.json`` will hold of the recipe."""
        return self.checked.prepared

    @property
    def placement(self) -> Placement:
        """Where it will run."""
        return self.checked.placement

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that it is given."""
        return self.checked.environment

    def document(self, run_id: str) -> RunDocument:
        """The ``run.json`` of a new run."""
        document = new_run_document(
            self.prepared,
            self.placement,
            run_id=run_id,
            git_revision=self.checked.git_revision,
            start=self.checked.loaded.start,
            code=self.checked.code,
        )
        if self.budget != Budget():
            document["budget"] = self.budget.to_record()
        return document


def _settled(options: LaunchOptions, *, cluster: str | None = None) -> LaunchOptions:
    """Fill in machines that were settled once for all; with any `cluster`, the launch goes elsewhere anyway."""
    resources = written_resources(options.recipe, overrides=options.overrides, values=options.values, cwd=options.cwd)
    asked = settled_resources(options.resources, resources, cluster=cluster or options.cluster)
    return replace(options, resources=asked)


def _backend(options: LaunchOptions) -> Backend:
    return backend_for(infra_for(options.resources, options.cluster))


def _plan(
    backend: Backend,
    options: LaunchOptions,
    say: Callable[[str], None],
    *,
    start: ResolveStart,
    with_environment: bool = True,
) -> _Plan:
    backend.check(options.resources, cluster=options.cluster, image=options.image)
    loaded = load_recipe(
        options.recipe, overrides=options.overrides, flags=options.values, cwd=options.cwd, start=start
    )
    say_start(loaded.start, say)
    name = None if options.name is None else checked_name(options.name)
    if options.once and name is not None:
        remedy = "leave out one of the two: --once names the run after its recipe, settings and commit"
        raise UserError("--once takes no --name", where=f"--name {name}", remedy=remedy)
    checked = check_launch(backend, loaded, options, say=say, with_environment=with_environment)
    if options.once:
        prepared = checked.prepared
        name = once_name(prepared.recipe["name"], prepared.digest, checked.code, checked.placement.image)
    machines = checked.placement.machines
    resources = machines.resources if machines else None
    max_cost = options.max_cost
    if max_cost is None:
        max_cost = settled_max_cost(has_price=has_price(options.hourly_cost, resources))
    budget = chosen_budget(max_cost, options.hourly_cost, resources)
    words = describe_budget(budget, resources, machines.num_nodes if machines else 1)
    if words is not None:
        say(words)
    return _Plan(checked=checked, name=name, budget=budget, options=options)


def _choose(store: Store, plan: _Plan) -> Match:
    """Decide whether the launch starts a new run or resumes one."""
    if plan.name is not None and plan.options.once:
        return choose_once(store, plan.name)
    if plan.name is not None:
        return choose_by_name(store, plan.name, plan.prepared.recipe, plan.prepared.digest)
    recipe_name = plan.prepared.recipe["name"]
    waiting = find_interrupted_run(store, recipe_name, plan.prepared.digest)
    why = waiting and (
        f"this is a new run; {waiting} of the same recipe and settings was interrupted, "
        f"and `runner resume {waiting}` continues it"
    )
    return Match(run_id=new_run_id(recipe_name, datetime.now(UTC)), exists=False, why=why)


def _begin(store: Store, plan: _Plan, say: Callable[[str], None]) -> tuple[RunDocument, RunLock | None]:
    """Submit the run, or find the one to resume; with its lock on this machine, if its supervisor runs here.

    Raises:
        UserError: a run of that name is running, or this machine's state folder cannot be written.
        RunIsThere: with `LaunchOptions.once`, if it is.
    """
    while True:
        match = _choose(store, plan)
        run_id = match.run_id
        if match.exists and plan.options.once:
            raise RunIsThere(run_id)
        if match.why:
            say(match.why)
        if not plan.backend.supervised_here:
            if match.exists:
                document = relocate(store, run_id, plan.placement)
                _set_budget(store, run_id, plan, say, moves=True)
                return document, None
            document = plan.document(run_id)
            if submit(store, document, plan.prepared.inputs, texts=plan.checked.code_texts):
                return document, None
            continue  # another process was faster with this very name: look again
        if match.exists:
            lock = acquire_run(store, run_id)
            with closed_on_error(lock):
                _set_budget(store, run_id, plan, say, moves=False)
                return run_placement(store, run_id), lock
        try:
            lock = take_lock(store, run_id)
        except UserError as error:
            if not plan.options.once or not isinstance(error.__cause__, RunLocked):
                raise
            time.sleep(poll_seconds(store))  # another launch of the very same is about to submit it
            continue
        with closed_on_error(lock):
            document = plan.document(run_id)
            if submit(store, document, plan.prepared.inputs, texts=plan.checked.code_texts):
                return document, lock
        lock.close()


def _set_budget(store: Store, run_id: str, plan: _Plan, say: Callable[[str], None], *, moves: bool) -> None:
    """Record what counts from now on for a run that goes on."""
    machines = plan.placement.machines
    set_budget_again(
        store,
        run_id,
        max_cost=plan.options.max_cost,
        hourly_cost=plan.options.hourly_cost,
        moves=moves,
        resources=machines.resources if machines else None,
        say=say,
    )
