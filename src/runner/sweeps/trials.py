"""A trial is an ordinary run: its ``run.json`` is made from the sweep's definition and the values that were drawn.

Whatever worker first takes the trial writes it. The recipe with these values goes through exactly the checks of a
launch, and has the digest that a launch with the same ``--set`` would have.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import UserError
from runner.runs.inputs import fetch_sweep_input
from runner.runs.layout import RUN, run_key
from runner.runs.record_types.run import RunDocument
from runner.runs.records import encoded, run_document, utc_now
from runner.runs.submission.portable import PortableRecipe, prepare_with
from runner.runs.submission.run_json import run_json
from runner.storage.retry import Caller, directly
from runner.storage.store import NotFound, Store
from runner.sweeps.definition import Definition
from runner.sweeps.layout import trial_run_id


@dataclass(frozen=True, kw_only=True)
class _Machines:
    """As `runner.runs.submission.run_json.Machines`."""

    resources: Mapping[str, Any]
    num_nodes: int
    accelerators: Mapping[str, float] | None


def trial_document(
    definition: Definition,
    number: int,
    values: Mapping[str, Any],
    *,
    settings: Mapping[str, Any] | None = None,
    folder: Path,
    fetch: Callable[[str], Path] | None = None,
    created_at: str | None = None,
) -> RunDocument:
    """Build a trial's ``run.json``. The same arguments give the same, on every machine.

    Args:
        definition: the sweep's.
        number: the trial's, from 0.
        values: what was drawn, by parameter name.
        settings: what they set in the recipe, by dotted name; None: the values themselves.
        folder: of this machine; holds the sweep's inputs (``inputs/<digest>/<name>``).
        fetch: returns the local copy of an input; None if `folder` has them.
        created_at: of the run; None for the sweep's.

    Raises:
        UserError: the recipe is not valid with these values, or a folder that it names is not on this machine.
        Damaged: an input is not what it was when the sweep was launched.
    """
    run_id = trial_run_id(definition.sweep_id, number)
    _, prepared = prepare_with(
        PortableRecipe.from_mapping(definition.recipe),
        values if settings is None else settings,
        fetch=fetch or (lambda key: folder / key),
        folder=folder,
        shown_as=f"trial {number} of {definition.sweep_id}",
    )
    machines = None
    if definition.resources is not None:
        machines = _Machines(
            resources=definition.resources, num_nodes=definition.num_nodes, accelerators=definition.accelerators
        )
    return run_json(
        run_id=run_id,
        recipe=prepared.recipe,
        settings=prepared.settings,
        recipe_digest=prepared.digest,
        git_revision=definition.git_revision,
        created_at=created_at or definition.created_at,
        infra=definition.infra,
        image=definition.image,
        machines=machines,
        sweep={"sweep_id": definition.sweep_id, "trial": number, "parameters": dict(values)},
    )


def create_trial(
    store: Store,
    definition: Definition,
    number: int,
    values: Mapping[str, Any],
    *,
    settings: Mapping[str, Any] | None = None,
    folder: Path,
    call: Caller = directly,
) -> str:
    """Write a trial's ``run.json``, if nobody has; from then on the run exists.

    Args:
        store: where the sweep lives.
        definition: the sweep's.
        number: the trial's, from 0.
        values: what was drawn, by parameter name.
        settings: what they set in the recipe, by dotted name; None: the values themselves.
        folder: of this machine; keeps the sweep's inputs.
        call: makes each request.

    Returns:
        The run's id.

    Raises:
        UserError: as `trial_document`; or there is a run of that name that is not this trial.
        Damaged: as `trial_document`.
    """
    run_id = trial_run_id(definition.sweep_id, number)
    if not _is_there(store, definition, number, call):
        document = trial_document(
            definition,
            number,
            values,
            settings=settings,
            folder=folder,
            fetch=lambda key: fetch_sweep_input(store, definition.sweep_id, key, folder, call=call),
            created_at=utc_now(),
        )
        if not call(lambda: store.create(run_key(run_id, RUN), encoded(document))):
            _is_there(store, definition, number, call)
    return run_id


def _is_there(store: Store, definition: Definition, number: int, call: Caller) -> bool:
    """Whether the trial's run exists.

    Raises:
        UserError: another run has its id.
    """
    run_id = trial_run_id(definition.sweep_id, number)
    try:
        document = call(lambda: run_document(store, run_id))
    except NotFound:
        return False
    sweep = document.get("sweep")
    if sweep is None or (sweep["sweep_id"], sweep["trial"]) != (definition.sweep_id, number):
        raise UserError(
            f"there is a run {run_id} that is not trial {number} of the sweep {definition.sweep_id}",
            where=store.url,
            remedy="launch the sweep under another name",
        )
    return True
