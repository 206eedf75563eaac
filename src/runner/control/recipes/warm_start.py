"""Find the run that a recipe starts from (``model: {run: …}``), and what is said of it."""

import functools
import os
from collections.abc import Callable

from runner.errors import UserError
from runner.recipe.loading.starts import ResolveStart, RunStart
from runner.remembered import default_store
from runner.runs.checkpoints.choice import choose_checkpoint, no_model, short_name
from runner.runs.checkpoints.origins import checkpoint_digest, manifest_digest
from runner.runs.layout import CheckpointName, run_key
from runner.runs.listing import find_run
from runner.runs.records import run_document, run_recipe, run_result
from runner.storage.manifest import Damaged
from runner.storage.open import open_store
from runner.storage.store import NotFound, Store


def start_resolver(store: Store | None = None) -> ResolveStart:
    """Return what finds the run that a recipe starts from; it remembers what it has found.

    Args:
        store: where runs live; None: the one of ``RUNNER_STORE``, or runner's own, opened if it is needed.
    """
    opened = functools.cache(lambda: store or open_store(os.environ.get("RUNNER_STORE") or default_store()))

    @functools.cache
    def resolve(run: str, checkpoint: str | None) -> RunStart:
        return find_start(opened(), run, checkpoint)

    return resolve


def find_start(store: Store, run: str, checkpoint: str | None) -> RunStart:
    """Find what a warm start starts from.

    Args:
        store: where runs live.
        run: a run's id, the beginning or end of one, or ``last``.
        checkpoint: as `choose_checkpoint` reads it; None: the model that the run ended with.

    Raises:
        UserError: there is no such run, or it has no such checkpoint, or no model.
    """
    run_id = find_run(store, run)
    try:
        recipe = run_recipe(run_document(store, run_id))
        if checkpoint is None:
            result = run_result(store, run_id)
            key = None if result is None else (result.get("artifacts") or {}).get("model")
            if key is None:
                error = no_model(store, run_id)
                raise UserError(
                    error.what, where=run_id, remedy="write `checkpoint: last` for that of its newest checkpoint"
                )
            name, digest = None, manifest_digest(store, run_key(run_id, key))
        else:
            name = choose_checkpoint(store, run_id, checkpoint)
            digest = checkpoint_digest(store, run_id, name)
    except (Damaged, NotFound) as error:
        raise UserError(f"damaged in the store: {error}", where=run_id) from error
    return RunStart(
        run_id=run_id,
        checkpoint=None if name is None else str(name),
        digest=digest,
        model={key: recipe.model[key] for key in ("model_name_or_path", "model_revision") if recipe.model.get(key)},
        trust_remote_code=bool(recipe.training.get("trust_remote_code")),
    )


def say_start(start: RunStart | None, say: Callable[[str], None]) -> None:
    """Say what a launch starts from."""
    if start is None:
        return
    name = None if start.checkpoint is None else CheckpointName.parse(start.checkpoint)
    which = "its model" if name is None else f"its checkpoint {short_name(name)}"
    say(f"starts from {start.run_id}: {which}, trained from {start.model['model_name_or_path']}")
