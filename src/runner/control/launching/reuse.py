"""Decide whether a launch starts a new run or resumes an existing one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from runner.control.launching.submit import LONGEST_ID
from runner.errors import UserError
from runner.paths import listing_cache
from runner.runs.layout import RUNS
from runner.runs.listing import look_at
from runner.runs.record_types.run import CodeRecord
from runner.runs.records import run_document
from runner.runs.remembered.ended import EndedRuns
from runner.runs.status import RunStatus, run_status
from runner.storage.manifest import canonical_json
from runner.storage.store import NotFound, Store

_MOST_LOOKS = 50


@dataclass(frozen=True, kw_only=True)
class Match:
    """The run that a launch means."""

    run_id: str
    """The run."""
    exists: bool
    """Whether it exists and is to be resumed; otherwise it is to be submitted."""
    why: str | None
    """What to tell the user; None if there is nothing unusual."""


def choose_by_name(store: Store, name: str, recipe: Mapping[str, Any], recipe_digest: str) -> Match:
    """Find the run that ``launch --name`` means.

    The run of that name and its successors (``name-2``, ``name-3``, …) are looked at in turn. The first one that was
    interrupted and has the same settings is resumed; one that is running is refused; otherwise a new run begins.

    Raises:
        UserError: a run of that name is running.
    """
    newest: RunStatus | None = None
    number = 1
    while True:
        run_id = name if number == 1 else f"{name}-{number}"[-LONGEST_ID:]
        try:
            document = run_document(store, run_id)
        except NotFound:
            return Match(run_id=run_id, exists=False, why=_why_new(store, newest, recipe, recipe_digest))
        newest = run_status(store, run_id, document=document)
        if newest.state == "running":
            raise UserError(
                f"the run is running{_how_far(newest)}",
                where=run_id,
                remedy=f"`runner logs -f {run_id}` follows it; `runner cancel {run_id}` ends it",
            )
        if not newest.terminal and document["digest"] == recipe_digest:
            return Match(run_id=run_id, exists=True, why=f"{run_id} is {newest.state}: resuming it")
        number += 1


def once_name(recipe_name: str, recipe_digest: str, code: CodeRecord | None, image: str | None) -> str:
    """Return the id of the one run that ``launch --once`` means: the recipe's name and a digest of what is trained.

    Where it runs, on which GPU and for how much is not in it: that changes how, never what.

    Args:
        recipe_name: the recipe's.
        recipe_digest: of the recipe as resolved, `--set` included, and of the contents of its local data.
        code: the commit of the recipe's folder, and what is not committed there.
        image: that it runs in.

    Raises:
        UserError: what is not committed is not known, so that two different states could get one name.
    """
    identity: dict[str, Any] = {"recipe": recipe_digest, "image": image}
    if code is not None:
        identity["commit"] = code["git_revision"]
        if code["dirty"]:
            if code.get("diff_key") is None:
                raise UserError(
                    "the repository has changes that are not committed and not known",
                    where="--once",
                    remedy="commit them, or launch with --name",
                )
            identity["changes"] = code["diff_key"]
    end = f"-{blake3(canonical_json(identity)).hexdigest()[:12]}"
    return recipe_name[: LONGEST_ID - len(end) - len("-99")] + end


def choose_once(store: Store, name: str) -> Match:
    """Find the run that ``launch --once`` means: that of this name, or its first successor that was not cancelled.

    What was cancelled has ended for good, so that who launches it again gets ``name-2`` (``name-3``, …).
    """
    number = 1
    cancelled = None
    while True:
        run_id = name if number == 1 else f"{name}-{number}"
        try:
            status = run_status(store, run_id)
        except NotFound:
            why = cancelled and f"{cancelled} was cancelled: this is a new run"
            return Match(run_id=run_id, exists=False, why=why)
        if status.state != "cancelled":
            return Match(run_id=run_id, exists=True, why=None)
        cancelled = run_id
        number += 1


def find_interrupted_run(store: Store, recipe_name: str, recipe_digest: str) -> str | None:
    """Return the newest interrupted run of this recipe with these settings that has no name of its own, if any."""
    names = [name for name in store.folders(RUNS) if name.startswith(f"{recipe_name}-")]
    ended = EndedRuns(listing_cache(store.url)).read_unless_changed(store, set(names))
    names = [name for name in names if name not in ended]
    interrupted = [
        status
        for status in look_at(store, sorted(names)[-_MOST_LOOKS:])
        if status.state in ("interrupted", "pending") and not status.paused
    ]
    for status in sorted(interrupted, key=lambda status: status.created_at, reverse=True):
        if status.state == "interrupted" and run_document(store, status.run_id)["digest"] == recipe_digest:
            return status.run_id
    return None


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """List what differs between two recipes, as ``training.learning_rate: 0.0002 -> 0.001``."""
    old, new = dict(_leaves(before, "")), dict(_leaves(after, ""))
    return [
        f"{path}: {old.get(path, '(unset)')} -> {new.get(path, '(unset)')}"
        for path in sorted(old.keys() | new.keys())
        if old.get(path, "(unset)") != new.get(path, "(unset)")
    ]


def _why_new(store: Store, newest: RunStatus | None, recipe: Mapping[str, Any], recipe_digest: str) -> str | None:
    if newest is None:
        return None
    document = run_document(store, newest.run_id)
    if document["digest"] == recipe_digest:
        return f"{newest.run_id} has {newest.state} already: this is a new run"
    different = "".join(f"\n  {change}" for change in changes(document["recipe"], recipe))
    return f"the settings differ from {newest.run_id}'s, so this is a new run:{different}"


def _how_far(status: RunStatus) -> str:
    return "" if status.step is None else f", at step {status.step} of {status.max_steps or '?'}"


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple) and any(isinstance(inner, Mapping) for inner in value):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{index}]")
    else:
        yield path, list(value) if isinstance(value, tuple) else value
