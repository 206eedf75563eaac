"""Make a run in the store: its inputs, then ``run.json``. Built purely, written last, never changed."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from runner import __version__
from runner.backends.skypilot.resources import ResolvedResources
from runner.control.prepare import PreparedRecipe
from runner.errors import UserError
from runner.paths import listing_cache
from runner.runs.layout import RUN, is_run_id, new_nonce, run_key
from runner.runs.listing import EndedRuns
from runner.runs.record_types.run import ResolvedRecipe, RunDocument
from runner.runs.records import encoded
from runner.storage.commit import digest
from runner.storage.store import NotFound, Store

LONGEST_ID = 100


def new_run_id(recipe_name: str, now: datetime) -> str:
    """A fresh id: ``<name>-<yyyymmdd>-<hhmmss>-<4 random>``, in UTC."""
    end = f"-{now.astimezone(UTC):%Y%m%d-%H%M%S}-{new_nonce(4)}"
    return recipe_name[: LONGEST_ID - len(end)] + end


def checked_name(name: str) -> str:
    """A name that a person chose for a run, if it can be an id.

    Raises:
        UserError: it cannot.
    """
    if name == "last" or not is_run_id(name):
        near = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")
        remedy = "use lower-case letters, digits, `.`, `_` and `-`, at most 100"
        if near and near != name:
            remedy += f", such as {near!r}"
        raise UserError(f"{name!r} cannot be a run's name", where="--name", remedy=remedy)
    return name


def run_json(
    *,
    run_id: str,
    recipe: Mapping[str, Any],
    settings: Mapping[str, Any],
    recipe_digest: str,
    git_revision: str | None,
    created_at: str,
    infra: str = "local",
    image: str | None = None,
    machines: ResolvedResources | None = None,
) -> RunDocument:
    """The contents of ``run.json``.

    Args:
        run_id: the run.
        recipe: what `prepare` made of its recipe.
        settings: the same.
        recipe_digest: the same.
        git_revision: of the recipe's folder.
        created_at: when.
        infra: where it runs.
        image: by digest or id, for an infra that runs images.
        machines: what SkyPilot is asked for; None: the run runs on this machine.
    """
    document: RunDocument = {
        "version": 1,
        "run_id": run_id,
        "name": recipe["name"],
        "recipe": cast(ResolvedRecipe, recipe),
        "settings": settings,
        "digest": recipe_digest,
        "infra": infra,
        "accelerators": machines.accelerators if machines else None,
        "image": image,
        "runner_version": __version__,
        "git_revision": git_revision,
        "created_at": created_at,
    }
    if machines is not None:
        document |= {"resources": machines.resources, "num_nodes": machines.num_nodes}
    return document


def new_run_document(
    prepared: PreparedRecipe,
    *,
    run_id: str | None = None,
    git_revision: str | None,
    infra: str = "local",
    image: str | None = None,
    machines: ResolvedResources | None = None,
) -> RunDocument:
    """The ``run.json`` of a run that begins now; its id is a fresh one unless it is given."""
    now = datetime.now(UTC)
    return run_json(
        run_id=run_id or new_run_id(prepared.recipe["name"], now),
        recipe=prepared.recipe,
        settings=prepared.settings,
        recipe_digest=prepared.digest,
        git_revision=git_revision,
        created_at=now.isoformat(timespec="seconds"),
        infra=infra,
        image=image,
        machines=machines,
    )


def submit(store: Store, document: RunDocument, inputs: Mapping[str, Path]) -> bool:
    """Write a run's inputs and its ``run.json``; from then on it exists, and is pending.

    Args:
        store: where to.
        document: from `run_json`.
        inputs: local files by their key within the run (``inputs/<digest>/<name>``).

    Returns:
        False: somebody else has just submitted a run with this id; nothing of theirs was changed.

    Raises:
        UserError: a file cannot be read any more, or has changed since the recipe was checked.
    """
    run_id = document["run_id"]
    if _exists(store, run_id):
        return False
    for key, path in inputs.items():
        try:
            if digest(path) != key.split("/")[1]:
                raise UserError("has changed while the run was submitted", where=str(path), remedy="launch it again")
            store.upload(run_key(run_id, key), path)
        except OSError as error:
            raise UserError(f"cannot be read: {error.strerror}", where=str(path)) from error
    if not store.create(run_key(run_id, RUN), encoded(document)):
        return False
    EndedRuns(listing_cache(store.url)).forget(run_id)
    return True


def _exists(store: Store, run_id: str) -> bool:
    try:
        store.get(run_key(run_id, RUN))
    except NotFound:
        return False
    return True
