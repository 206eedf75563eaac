"""Begin work on a run, new or old: once on this machine, and nowhere else meanwhile."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from runner.backends.base import engine_of
from runner.backends.lock import RunLock, RunLocked
from runner.backends.skypilot.resources import is_remote
from runner.control.prepare import Prepared
from runner.control.reuse import choose_by_name, waiting_run
from runner.control.submit import new_run_document, new_run_id, submit
from runner.errors import UserError
from runner.paths import state_folder
from runner.runs.status import RunStatus, run_status, whereabouts
from runner.storage.store import Store


def begin(
    store: Store,
    prepared: Prepared,
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
            return run_id, take_hold(store, run_id)
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
    prepared: Prepared,
    *,
    name: str | None,
    git_revision: str | None,
    infra: str = "local",
    image: str | None = None,
) -> tuple[dict[str, Any], list[str], str | None]:
    """What `begin` would write (``run.json``), the command of an attempt, and what would be said. Changes nothing."""
    run_id, exists, why = choose(store, prepared, name)
    if exists:
        document = whereabouts(store, run_id)
    else:
        document = new_run_document(prepared, run_id=run_id, git_revision=git_revision, infra=infra, image=image)
    return document, engine_of(document).command(store.url, run_id), why


def take_hold(store: Store, run_id: str) -> RunLock:
    """The lock on this machine of a run that exists and can go on.

    Raises:
        UserError: it has ended, or it runs here or elsewhere; the message says what to do.
    """
    lock = _take_lock(store, run_id)
    try:
        infra = whereabouts(store, run_id)["infra"]
        if infra == "docker":
            from runner.backends.docker.backend import note_killed  # here: a local run does without

            note_killed(store, run_id)
        refuse_what_cannot_go_on(run_status(store, run_id))
        if is_remote(infra):
            remedy = f"`runner resume {run_id} --infra local` continues it here"
            raise UserError(f"the run was launched to --infra {infra}", where=run_id, remedy=remedy)
    except BaseException:
        lock.close()
        raise
    return lock


def choose(store: Store, prepared: Prepared, name: str | None) -> tuple[str, bool, str | None]:
    """The run's id, whether it exists, and what is worth saying about that."""
    if name is not None:
        choice = choose_by_name(store, name, prepared.recipe, prepared.digest)
        return choice.run_id, choice.exists, choice.why
    recipe_name = prepared.recipe["name"]
    waiting = waiting_run(store, recipe_name, prepared.digest)
    why = waiting and (
        f"this is a new run; {waiting} of the same recipe and settings was interrupted, "
        f"and `runner resume {waiting}` continues it"
    )
    return new_run_id(recipe_name, datetime.now(UTC)), False, why


def _take_lock(store: Store, run_id: str) -> RunLock:
    folder = state_folder(store.url, run_id)
    try:
        return RunLock.take(folder)
    except RunLocked as locked:
        raise UserError(
            f"the run is running on this machine already, supervised by process {locked.pid or '?'}",
            where=run_id,
            remedy=f"`runner logs -f {run_id}` follows it; `runner cancel {run_id}` ends it",
        ) from locked
    except OSError as error:
        raise UserError(
            f"cannot be written: {error.strerror}",
            where=str(folder),
            remedy="make room there, or point XDG_STATE_HOME to a folder that you may write to",
        ) from error


def refuse_what_cannot_go_on(status: RunStatus) -> None:
    """Refuse a run that has ended or that runs.

    Raises:
        UserError: it is one of those; the message says what to do.
    """
    if status.terminal:
        reason = f": {status.reason}" if status.reason else ""
        raise UserError(
            f"the run has {'been ' if status.state == 'cancelled' else ''}{status.state}{reason}",
            where=status.run_id,
            remedy="an ended run stays as it is; `runner launch` starts a new one",
        )
    if status.state == "running":
        place = "on this machine" if status.here else "elsewhere"
        raise UserError(
            f"the run looks alive {place}: its last sign is {status.last_sign_seconds or 0:.0f} s old",
            where=status.run_id,
            remedy=f"`runner wait {status.run_id}` waits for it, `runner cancel {status.run_id}` ends it; if its "
            "machine is gone, try again in a minute",
        )
