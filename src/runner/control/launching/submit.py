"""Create a run in the store: its inputs, then ``run.json``, which is built purely, written last and never changed."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from runner.backends.base import Placement
from runner.errors import UserError
from runner.paths import listing_cache
from runner.recipe.loading.starts import RunStart
from runner.runs.layout import RUN, is_run_id, new_nonce, run_key
from runner.runs.record_types.run import CodeRecord, RunDocument, RunLineage
from runner.runs.records import encoded, exists
from runner.runs.remembered.ended import EndedRuns
from runner.runs.submission.prepare import PreparedRecipe
from runner.runs.submission.run_json import run_json
from runner.storage.commit import digest
from runner.storage.store import Store, StoreFull

LONGEST_ID = 100


def new_run_id(recipe_name: str, now: datetime) -> str:
    """Return a fresh id: ``<name>-<yyyymmdd>-<hhmmss>-<4 random>``, in UTC."""
    end = f"-{now.astimezone(UTC):%Y%m%d-%H%M%S}-{new_nonce(4)}"
    return recipe_name[: LONGEST_ID - len(end)] + end


def checked_name(name: str) -> str:
    """Return a name that a person chose for a run.

    Raises:
        UserError: it cannot be an id.
    """
    if name == "last" or not is_run_id(name):
        near = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")
        remedy = "use lower-case letters, digits, `.`, `_` and `-`, at most 100"
        if near and near != name:
            remedy += f", such as {near!r}"
        raise UserError(f"{name!r} cannot be a run's name", where="--name", remedy=remedy)
    return name


def new_run_document(
    prepared: PreparedRecipe,
    placement: Placement,
    *,
    run_id: str | None = None,
    git_revision: str | None,
    start: RunStart | None = None,
    code: CodeRecord | None = None,
) -> RunDocument:
    """Build the ``run.json`` of a run that begins now.

    Args:
        prepared: the recipe.
        placement: where the run is to run.
        run_id: its id; None for a fresh one.
        git_revision: of the recipe's folder.
        start: the other run that it starts from.
        code: the code around the recipe.
    """
    lineage: RunLineage | None = None
    if start is not None:
        lineage = {
            "kind": "warm_start",
            "run_id": start.run_id,
            "checkpoint": start.checkpoint,
            "digest": start.digest,
        }
    now = datetime.now(UTC)
    return run_json(
        run_id=run_id or new_run_id(prepared.recipe["name"], now),
        recipe=prepared.recipe,
        settings=prepared.settings,
        recipe_digest=prepared.digest,
        git_revision=git_revision,
        created_at=now.isoformat(timespec="seconds"),
        infra=placement.infra,
        image=placement.image,
        machines=placement.machines,
        lineage=lineage,
        code=code,
    )


def submit(
    store: Store,
    document: Mapping[str, Any],
    inputs: Mapping[str, Path],
    *,
    texts: Mapping[str, bytes] = MappingProxyType({}),
) -> bool:
    """Write a run's inputs and its ``run.json``; from then on the run exists, and is pending.

    Args:
        store: where the run is to live.
        document: from `run_json`.
        inputs: local files by their key within the run (``inputs/<digest>/<name>``).
        texts: further inputs, as they are.

    Returns:
        False: another process has just submitted a run with this id; nothing of it was changed.

    Raises:
        UserError: a file cannot be read, or has changed since the recipe was checked; or the store refuses us.
        StoreFull, StoreUnavailable: from the store.
    """
    run_id = document["run_id"]
    if exists(store, run_key(run_id, RUN)):
        return False
    for key, path in inputs.items():
        try:
            if digest(path) != key.split("/")[1]:
                raise UserError("has changed while the run was submitted", where=str(path), remedy="launch it again")
            store.upload(run_key(run_id, key), path)
        except StoreFull:
            raise
        except OSError as error:
            raise UserError(f"cannot be read: {error.strerror or error}", where=str(path)) from error
    for key, data in texts.items():
        store.create(run_key(run_id, key), data)
    if not store.create(run_key(run_id, RUN), encoded(document)):
        return False
    EndedRuns(listing_cache(store.url)).forget(run_id)
    return True
