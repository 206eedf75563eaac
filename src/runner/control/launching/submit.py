"""Create a run in the store: its inputs, then ``run.json``, which is built purely, written last and never changed."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from runner import __version__
from runner.backends.base import Placement, ResolvedResources
from runner.control.launching.prepare import PreparedRecipe
from runner.errors import UserError
from runner.paths import listing_cache
from runner.runs.layout import RUN, is_run_id, new_nonce, run_key
from runner.runs.listing import EndedRuns
from runner.runs.record_types.run import RunDocument
from runner.runs.records import encoded, exists
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
    """Build the contents of ``run.json``.

    Args:
        run_id: the run.
        recipe: from `prepare`, as are `settings` and `recipe_digest`.
        settings: every setting with its source.
        recipe_digest: what makes two runs of one recipe equal.
        git_revision: of the recipe's folder.
        created_at: ISO 8601, UTC.
        infra: where the run is to run.
        image: by digest or id, for an infra that runs images.
        machines: the machines that are asked for; None for this machine.
    """
    # In the order in which every run.json has them: rendered tasks hold this document, and are compared as text.
    document: dict[str, Any] = {
        "version": 1,
        "run_id": run_id,
        "name": recipe["name"],
        "recipe": recipe,
        "settings": settings,
        "digest": recipe_digest,
        "infra": infra,
        "accelerators": machines.accelerators if machines else None,
    }
    if machines is not None:
        document |= {"resources": machines.resources, "num_nodes": machines.num_nodes}
    document |= {
        "image": image,
        "runner_version": __version__,
        "git_revision": git_revision,
        "created_at": created_at,
    }
    return cast(RunDocument, document)


def new_run_document(
    prepared: PreparedRecipe, placement: Placement, *, run_id: str | None = None, git_revision: str | None
) -> RunDocument:
    """Build the ``run.json`` of a run that begins now.

    Args:
        prepared: the recipe.
        placement: where the run is to run.
        run_id: its id; None for a fresh one.
        git_revision: of the recipe's folder.
    """
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
    )


def submit(store: Store, document: Mapping[str, Any], inputs: Mapping[str, Path]) -> bool:
    """Write a run's inputs and its ``run.json``; from then on the run exists, and is pending.

    Args:
        store: where the run is to live.
        document: from `run_json`.
        inputs: local files by their key within the run (``inputs/<digest>/<name>``).

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
    if not store.create(run_key(run_id, RUN), encoded(document)):
        return False
    EndedRuns(listing_cache(store.url)).forget(run_id)
    return True
