"""Start a run that is made from another run's record: what `runner extend` and `runner reproduce` share.

The recipe's file is not needed: the record has the resolved recipe, and the store has the files that it names.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any, cast

from runner import __version__
from runner.backends.environment import chosen_environment
from runner.backends.registry import backend_for, infra_for
from runner.control.launching.budget import chosen_budget, describe_budget
from runner.control.launching.checks import StartOptions
from runner.control.launching.preconditions import require_hub_access
from runner.control.launching.start import Launched, closed_on_error, make_reporter, start, take_lock
from runner.control.launching.submit import checked_name, new_run_id, submit
from runner.errors import UserError
from runner.recipe.recipe import Recipe
from runner.recipe.webhooks import webhook_variables
from runner.runs.inputs import fetch_input, input_keys
from runner.runs.launches import needed_environment, newest_launch, run_placement
from runner.runs.measured.budget import Budget, read_budget
from runner.runs.record_types.run import RunDocument, RunLineage
from runner.storage.store import Store

if TYPE_CHECKING:
    from runner.control.launching.cost import Confirm


@dataclass(frozen=True, kw_only=True)
class AgainOptions(StartOptions):
    """How a run that is made from another one is started; what is left open is as it was there."""

    name: str | None = None
    """The new run's id; None for a fresh one."""


@dataclass(frozen=True, kw_only=True)
class Talk:
    """How a command speaks with the person before it."""

    confirm: "Confirm"
    """Answers the question about the cost."""
    say: Callable[[str], None]
    """Receives what is worth knowing on the way."""
    typed: Callable[[str], str] | None = None
    """Makes a command of ours one that the person can type."""
    output: IO[str] | None = field(default=None)
    """Where the output of other programs goes."""


def start_from_record(
    store: Store,
    source: RunDocument,
    *,
    recipe: Mapping[str, Any],
    settings: Mapping[str, Any],
    digest: str | None,
    lineage: RunLineage,
    options: AgainOptions,
    talk: Talk,
) -> Launched:
    """Write a run that is made from another run's record to the store, and start it.

    Args:
        store: where both runs live.
        source: the other run's record.
        recipe: the new run's, resolved.
        settings: each setting with its source.
        digest: what makes two trainings equal.
        lineage: what the new run is to the other.
        options: where it runs.
        talk: how to speak with the person.

    Raises:
        UserError: it cannot run there, a variable is not set, or `talk.confirm` said no. Nothing has been started.
        Damaged: a file of the other run is not what it was.
    """
    run_id = source["run_id"]
    launch = newest_launch(store, run_id)
    needed = {*needed_environment(store, run_id), *(launch.record.get("environment", ()) if launch else ())}
    needed |= {*webhook_variables(recipe)}
    environment = chosen_environment(options.env_files, options.secrets, needed=sorted(needed))
    before = run_placement(store, run_id)
    backend = backend_for(before["infra"])
    if options.moves and (options.resources.infra or backend.supervised_here):
        backend = backend_for(infra_for(options.resources, options.cluster))
    checked = Recipe.from_mapping(recipe)
    machines = None
    fields: dict[str, Any] = {
        key: before[key] for key in ("infra", "accelerators", "resources", "num_nodes", "image") if key in before
    }
    if options.moves or not backend.supervised_here:
        backend.check(options.resources, cluster=options.cluster, image=options.image)
        placement = backend.resolve(checked, options.resources, image=options.image, before=before)
        for note in placement.notes:
            talk.say(note)
        backend.require(store, placement)
        fields = placement.fields()
        machines = placement.machines
        if machines is not None:
            from runner.control.launching.cost import confirm_cost

            confirm_cost(checked, machines, confirm=talk.confirm, say=talk.say)
    require_hub_access(
        checked, recipe["export"], backend, environment, where=run_id, locate=lambda path: run_id, say=talk.say
    )
    budget = _budget(store, source, options, fields.get("resources"))
    words = describe_budget(budget, fields.get("resources"), machines.num_nodes if machines else 1)
    if words is not None:
        talk.say(words)
    now = datetime.now(UTC)
    name = new_run_id(source["name"], now) if options.name is None else checked_name(options.name)
    document: dict[str, Any] = {
        **{key: copy.deepcopy(value) for key, value in source.items() if key not in ("sweep", "submission", "budget")},
        **({"budget": budget.to_record()} if budget != Budget() else {}),
        **fields,
        "run_id": name,
        "recipe": copy.deepcopy(dict(recipe)),
        "settings": dict(settings),
        "digest": digest,
        "runner_version": __version__,
        "created_at": now.isoformat(timespec="seconds"),
        "lineage": dict(lineage),
    }
    lock = take_lock(store, name) if backend.supervised_here else None
    with closed_on_error(lock), TemporaryDirectory(prefix="runner-inputs-") as folder:
        keys = dict.fromkeys([*input_keys(recipe), *_changes(source)])
        inputs = {key: fetch_input(store, run_id, key, Path(folder)) for key in keys}
        if not submit(store, document, inputs):
            raise UserError(f"there is a run {name} already", where="--name", remedy="choose another name")
    talk.say(f"run {name} in {store.url}")
    return start(
        store,
        cast(RunDocument, document),
        lock,
        environment=environment,
        cluster=options.cluster,
        detach=options.detach,
        reporter=make_reporter(talk.say, talk.typed, talk.output),
    )


def _budget(store: Store, source: RunDocument, options: StartOptions, resources: Mapping[str, Any] | None) -> Budget:
    """Return what counts for the new run: what is said now, else what counted for the other one in the end.

    Raises:
        UserError: as `chosen_budget`.
    """
    before = read_budget(store, source)
    # What an hour costs was said of other machines; the cap stays.
    stays = Budget(max_cost=before.max_cost, hourly_cost=None if options.moves else before.hourly_cost)
    return chosen_budget(options.max_cost, options.hourly_cost, resources, before=stays)


def _changes(source: RunDocument) -> list[str]:
    code = source.get("code")
    key = None if code is None else code.get("diff_key")
    return [] if key is None else [key]
