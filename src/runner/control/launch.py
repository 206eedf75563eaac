"""Begin work on a run, new or old: once on this machine, and nowhere else meanwhile."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import cast

from runner.backends.local.registry import backend_of
from runner.backends.lock import RunLock
from runner.backends.skypilot.request import Plan, place
from runner.control.prepare import PreparedRecipe
from runner.control.resume import _take_lock, acquire_run, relocate
from runner.control.reuse import choose_by_name, find_interrupted_run
from runner.control.submit import new_run_document, new_run_id, submit
from runner.runs.launches import run_placement
from runner.runs.record_types.run import RunDocument
from runner.runs.records import run_document
from runner.storage.store import Store


def begin(
    store: Store,
    prepared: PreparedRecipe,
    *,
    name: str | None,
    git_revision: str | None,
    say: Callable[[str], None],
    infra: str = "local",
    image: str | None = None,
) -> tuple[str, RunLock]:
    """The run that a launch means, submitted if it is new, with its lock on this machine.

    Args:
        store: where runs live.
        prepared: the recipe.
        name: the id that the caller wants; None: a fresh one.
        git_revision: of the recipe's folder.
        say: told if an old run is resumed, or why none is.
        infra: where a new run runs.
        image: the image of a new run, by digest or id.

    Raises:
        UserError: a run of that name is running, or this machine's state folder cannot be written.
    """
    while True:
        run_id, exists, why = choose(store, prepared, name)
        if why:
            say(why)
        if exists:
            return run_id, acquire_run(store, run_id)
        lock = _take_lock(store, run_id)
        try:
            document = new_run_document(prepared, run_id=run_id, git_revision=git_revision, infra=infra, image=image)
            if submit(store, document, prepared.inputs):
                return run_id, lock
        except BaseException:
            lock.close()
            raise
        lock.close()  # somebody was faster with this very name: look again


def rehearse(
    store: Store,
    prepared: PreparedRecipe,
    *,
    name: str | None,
    git_revision: str | None,
    infra: str = "local",
    image: str | None = None,
) -> tuple[RunDocument, list[str], str | None]:
    """What `begin` would write (``run.json``), the command of an attempt, and what would be said. Changes nothing."""
    run_id, exists, why = choose(store, prepared, name)
    if exists:
        document = run_placement(store, run_id)
    else:
        document = new_run_document(prepared, run_id=run_id, git_revision=git_revision, infra=infra, image=image)
    return document, backend_of(document).command(store.url, run_id), why


def choose(store: Store, prepared: PreparedRecipe, name: str | None) -> tuple[str, bool, str | None]:
    """The run's id, whether it exists, and what is worth saying about that."""
    if name is not None:
        choice = choose_by_name(store, name, prepared.recipe, prepared.digest)
        return choice.run_id, choice.exists, choice.why
    recipe_name = prepared.recipe["name"]
    waiting = find_interrupted_run(store, recipe_name, prepared.digest)
    why = waiting and (
        f"this is a new run; {waiting} of the same recipe and settings was interrupted, "
        f"and `runner resume {waiting}` continues it"
    )
    return new_run_id(recipe_name, datetime.now(UTC)), False, why


def new_or_old(
    store: Store,
    prepared: PreparedRecipe,
    plan: Plan,
    *,
    name: str | None,
    git_revision: str | None,
    say: Callable[[str], None],
) -> RunDocument:
    """The record of the run that a launch means, submitted if it is new, with the machines that this launch asks for.

    Args:
        store: where runs live.
        prepared: the recipe.
        plan: where it is to run.
        name: the id that the caller wants; None: a fresh one.
        git_revision: of the recipe's folder.
        say: told if an old run is resumed, or why none is.

    Raises:
        UserError: a run of that name is running.
    """
    while True:
        run_id, exists, why = choose(store, prepared, name)
        if why:
            say(why)
        document = _document(prepared, plan, run_id, git_revision)
        if exists:
            return relocate(store, run_id, place(plan))
        if submit(store, document, prepared.inputs):
            return document


def rehearsed(
    store: Store, prepared: PreparedRecipe, plan: Plan, *, name: str | None, git_revision: str | None
) -> tuple[RunDocument, str | None]:
    """What `new_or_old` would return, and what would be said. Changes nothing."""
    run_id, exists, why = choose(store, prepared, name)
    document = _document(prepared, plan, run_id, git_revision)
    if exists:
        document = cast(RunDocument, {**run_document(store, run_id), **place(plan)})
    return document, why


def _document(prepared: PreparedRecipe, plan: Plan, run_id: str, git_revision: str | None) -> RunDocument:
    return new_run_document(
        prepared,
        run_id=run_id,
        git_revision=git_revision,
        infra=plan.resources.infra,
        image=plan.image,
        machines=plan.resources,
    )
