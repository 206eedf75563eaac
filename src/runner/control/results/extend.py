"""Go on with a run that has ended, for more steps, as a run of its own."""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from runner.control.launching.start import Launched
from runner.control.results.again import AgainOptions, Talk, start_from_record
from runner.errors import UserError
from runner.runs.checkpoints.files import TRAINER_STATE
from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.checkpoints.origins import checkpoint_digest, identity_digest
from runner.runs.layout import CheckpointName, checkpoint_prefix
from runner.runs.metrics import read_metrics
from runner.runs.record_types.run import RunDocument, RunLineage
from runner.runs.records import DamagedRecord, run_result
from runner.runs.reopened import current_document
from runner.runs.status import run_status
from runner.storage.commit import verify
from runner.storage.manifest import Damaged
from runner.storage.store import NotFound, Store

Schedule = Literal["constant", "rewarm"]

LEAST_RATE = 0.1
"""Of the recipe's learning rate: what a constant schedule has at least. Most schedules end at 0, where nothing is
learnt."""
_OF_THEIR_OWN = ("reduce_lr_on_plateau", "greedy")
"""Schedulers that follow measurements, and know no end."""
_WARMUP = ("warmup_steps", "warmup_ratio", "lr_scheduler_kwargs")


@dataclass(frozen=True, kw_only=True)
class ExtendOptions(AgainOptions):
    """What is asked for when a run is extended."""

    steps: int | None = None
    """How many more optimizer steps."""
    epochs: float | None = None
    """How many more epochs."""
    schedule: Schedule = "constant"
    """The learning rate from there on."""


@dataclass(frozen=True, kw_only=True)
class Extension:
    """What an extension will train."""

    recipe: Mapping[str, Any]
    """The resolved recipe."""
    settings: Mapping[str, Any]
    """Each setting with its source."""
    lineage: RunLineage
    """What it goes on from."""
    max_steps: int
    """Its last step."""
    words: str
    """The same for people."""


def extend(store: Store, run_id: str, options: ExtendOptions, *, talk: Talk) -> Launched:
    """Start a run that goes on from the last checkpoint of a run that has ended.

    Args:
        store: where the run lives.
        run_id: the run.
        options: how much further, by which schedule, and where.
        talk: how to speak with the person.

    Raises:
        UserError: the run has not ended, has no checkpoint of its last stage, or cannot be extended so.
        Damaged: a record of the run cannot be trusted.
    """
    source = current_document(store, run_id)
    extension = plan_extension(store, source, options)
    talk.say(extension.words)
    return start_from_record(
        store,
        source,
        recipe=extension.recipe,
        settings=extension.settings,
        digest=identity_digest(extension.recipe, extension.lineage),
        lineage=extension.lineage,
        options=options,
        talk=talk,
    )


def plan_extension(store: Store, source: RunDocument, options: ExtendOptions) -> Extension:
    """Find out what an extension will train. Nothing is written.

    Raises:
        UserError: see `extend`.
    """
    if (options.steps is None) == (options.epochs is None):
        raise UserError("say how much further: one of the two", where="--steps, --epochs", remedy="write --steps 100")
    run_id = source["run_id"]
    recipe: dict[str, Any] = copy.deepcopy(dict(source["recipe"]))
    stages = recipe.get("stages") or []
    stage = stages[-1] if stages else recipe
    stage_name = stage.get("stage") or stage["method"]
    name = _last_checkpoint(store, run_id, stage_name)
    more = options.steps if options.steps is not None else _steps_of(store, run_id, name, options.epochs or 0)
    max_steps = name.step + more
    training = stage["training"]
    prefix = f"stages.{stage_name}." if stages else ""
    settings = dict(source.get("settings", {}))
    changed: dict[str, Any] = {"max_steps": max_steps}
    training.pop("num_train_epochs", None)
    settings.pop(f"{prefix}training.num_train_epochs", None)
    lineage: RunLineage = {
        "kind": "extend",
        "run_id": run_id,
        "checkpoint": str(name),
        "digest": checkpoint_digest(store, run_id, name),
        "step": name.step,
        "schedule": options.schedule,
    }
    kind = str(training.get("lr_scheduler_type", "linear"))
    if kind in _OF_THEIR_OWN:
        if options.schedule == "rewarm":
            what = f"`lr_scheduler_type: {kind}` follows what is measured, and has no warm-up to begin with again"
            raise UserError(what, where="--schedule rewarm", remedy="leave it out: the run goes on as it was")
        rate = f"as {kind} has it"
    elif options.schedule == "constant":
        constant = _constant_rate(store, run_id, stage_name, training, settings, prefix)
        lineage["learning_rate"] = constant
        changed |= {"lr_scheduler_type": "constant", "learning_rate": constant}
        for key in _WARMUP:
            training.pop(key, None)
            settings.pop(f"{prefix}training.{key}", None)
        rate = f"constant at {constant:g}"
    else:
        peak = _setting(training, settings, prefix, "learning_rate")
        rate = f"{kind} again over these steps, up to {peak if isinstance(peak, str) else f'{peak or 0:g}'}"
    training.update(changed)
    for key, value in changed.items():
        settings[f"{prefix}training.{key}"] = {"value": value, "source": "flag"}
    words = f"extends {run_id} from step {name.step} to {max_steps} ({more} more); learning rate: {rate}"
    return Extension(recipe=recipe, settings=settings, lineage=lineage, max_steps=max_steps, words=words)


def _last_checkpoint(store: Store, run_id: str, stage: str) -> CheckpointName:
    """Return the newest checkpoint of an ended run's last stage.

    Raises:
        UserError: there is none, or the run has not ended.
    """
    if run_result(store, run_id) is None:
        state = run_status(store, run_id).shown_state
        remedy = f"`runner resume {run_id}` goes on with it" if state == "interrupted" else f"`runner wait {run_id}`"
        raise UserError(f"the run has not ended: it is {state}", where=run_id, remedy=remedy)
    names = checkpoints(store, run_id)
    for name in names:
        try:
            verify(store, checkpoint_prefix(run_id, name), contents=False)
        except (Damaged, NotFound):
            continue
        if name.stage == stage:
            return name
        break
    what = f"the run has no checkpoint of its last stage, {stage}" if names else "the run has no checkpoint"
    raise UserError(what, where=run_id, remedy="`model: {run: …}` in a recipe starts from a run's model")


def _steps_of(store: Store, run_id: str, name: CheckpointName, epochs: float) -> int:
    """Return how many steps so many epochs take, by those that the run has taken."""
    key = checkpoint_prefix(run_id, name) + TRAINER_STATE
    state = json.loads(store.get(key))
    done = state.get("epoch") if isinstance(state, dict) else None
    if not isinstance(done, int | float) or done <= 0:
        raise DamagedRecord(key, "it does not say how many epochs it has trained")
    return max(1, round(epochs * name.step / done))


def _constant_rate(
    store: Store,
    run_id: str,
    stage: str,
    training: Mapping[str, Any],
    settings: Mapping[str, Any],
    prefix: str,
) -> float:
    """Return the learning rate that a run ended with, but not less than a tenth of its recipe's."""
    rates = [
        record["learning_rate"]
        for record in read_metrics(store, run_id)
        if record["stage"] == stage and record.get("learning_rate") is not None
    ]
    peak = _setting(training, settings, prefix, "learning_rate")
    least = LEAST_RATE * peak if isinstance(peak, int | float) else 0.0
    last = rates[-1] if rates else None
    found = max(least, last or 0.0)
    if not found:
        raise UserError("the run does not say what its learning rate was", where=run_id)
    return float(f"{found:.12g}")


def _setting(training: Mapping[str, Any], settings: Mapping[str, Any], prefix: str, key: str) -> Any:
    """Return a setting of the training: the recipe's, or the default that applies."""
    default = settings.get(f"{prefix}training.{key}")
    return training.get(key, default.get("value") if isinstance(default, Mapping) else None)
