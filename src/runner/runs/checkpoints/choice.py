"""Which checkpoint a person means: the last, the best, or that of a step. And which of its files make a model."""

from collections.abc import Collection

from runner.errors import UserError
from runner.runs.checkpoints.files import ADAPTER_WEIGHTS, MODEL_WEIGHTS, RUNNER_STATE
from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.layout import CheckpointName, checkpoint_prefix
from runner.runs.records import run_result
from runner.storage.commit import verify
from runner.storage.manifest import Damaged, Manifest
from runner.storage.store import NotFound, Store

LAST, BEST = "last", "best"

_MODEL_FILES = frozenset({MODEL_WEIGHTS, ADAPTER_WEIGHTS, "config.json", "adapter_config.json", RUNNER_STATE})
_MOST_SHOWN = 8

MODEL_WEIGHT_FILES = frozenset({MODEL_WEIGHTS, ADAPTER_WEIGHTS})
"""A checkpoint that has one of these holds whole weights."""


def choose_checkpoint(store: Store, run_id: str, text: str) -> CheckpointName:
    """Find a checkpoint from which a model can be made.

    Args:
        store: where the run lives.
        run_id: the run, in whatever state.
        text: ``last``, ``best``, a step, ``<stage>-<step>`` for a run with stages, or a checkpoint's whole name.

    Raises:
        UserError: there is none that this means, or it is damaged or holds no weights by themselves; the message lists
            those that there are.
    """
    names = checkpoints(store, run_id)
    if not names:
        raise UserError("the run has no checkpoint", where=run_id, remedy="`checkpoint.save_steps` says when it saves")
    if text == LAST:
        return _newest_good(store, run_id, names)
    name = _best(store, run_id, names) if text == BEST else _by_step(names, text)
    if name is None:
        raise UserError(
            "the run tracks no best checkpoint" if text == BEST else f"the run has no checkpoint {text!r}",
            where="--checkpoint",
            remedy=f"it has {_listed(names)}; or write `last`",
        )
    try:
        require_weights(name, verify(store, checkpoint_prefix(run_id, name), contents=False))
    except (Damaged, NotFound) as error:
        raise UserError(f"checkpoint {_short(name)} is damaged in the store: {error}", where=run_id) from error
    return name


def no_model(store: Store, run_id: str) -> UserError:
    """Return the error for a run whose model is asked for, and which has made none; it names a checkpoint if it can.

    Args:
        store: where the run lives.
        run_id: the run.
    """
    result = run_result(store, run_id)
    if result is None:
        state = "has not ended and has no model yet"
    else:
        state = f"{'was' if result['state'] == 'cancelled' else 'has'} {result['state']} and made no model"
    if names := checkpoints(store, run_id):
        remedy = f"`--checkpoint last` takes that of its newest checkpoint, {_short(names[0])}"
    else:
        remedy = "it has no checkpoint either" + (f"; `runner wait {run_id}` waits for its end" * (result is None))
    return UserError(f"the run {state}", where=run_id, remedy=remedy)


def no_evaluation_data(where: str) -> UserError:
    """Return the error for a run that is to be measured, and whose recipe has nothing to measure it on."""
    return UserError("the run's recipe has no evaluation data", where=where, remedy="name some: --data test.jsonl")


def is_model_file(name: str) -> bool:
    """Whether a checkpoint's file is needed for its model, and not only to train on."""
    return name in _MODEL_FILES


def require_weights(name: CheckpointName, manifest: Manifest) -> None:
    """Make sure that a checkpoint holds whole weights.

    Raises:
        UserError: it does not: DeepSpeed has split them over the processes that wrote it.
    """
    if not MODEL_WEIGHT_FILES & {file.name for file in manifest.files}:
        raise UserError(
            f"checkpoint {_short(name)} holds no whole weights: ZeRO has split them over the GPUs that wrote it",
            where="--checkpoint",
            remedy="the best one and that of the last step hold them; `runner cancel --keep-model` makes a model of a "
            "run that is running",
        )


def short_name(name: CheckpointName) -> str:
    """A checkpoint's stage and step, as people write them and as the artifacts that are made of it are called."""
    return f"{name.stage}-{name.step:06d}"


def _newest_good(store: Store, run_id: str, names: Collection[CheckpointName]) -> CheckpointName:
    problem: UserError | None = None
    for name in names:
        try:
            require_weights(name, verify(store, checkpoint_prefix(run_id, name), contents=False))
        except UserError as error:
            problem = problem or error
        except (Damaged, NotFound) as error:
            problem = problem or UserError(f"checkpoint {_short(name)} is damaged: {error}", where=run_id)
        else:
            return name
    assert problem is not None, "called with names"
    raise problem


def _best(store: Store, run_id: str, names: Collection[CheckpointName]) -> CheckpointName | None:
    """The best checkpoint of the newest stage, as the newest readable checkpoint tells."""
    for name in names:
        try:
            best = verify(store, checkpoint_prefix(run_id, name), contents=False).metadata.get("best")
        except (Damaged, NotFound):
            continue
        step = best.get("step") if isinstance(best, dict) else None
        return next((other for other in names if (other.stage, other.step) == (name.stage, step)), None)
    return None


def _by_step(names: Collection[CheckpointName], text: str) -> CheckpointName | None:
    stage, dash, step = text.rpartition("-")
    exact = [name for name in names if str(name) == text]
    if exact:
        return exact[0]
    if not (step.isascii() and step.isdigit()) or len(step) > 15:
        return None
    same = [name for name in names if name.step == int(step) and (not dash or name.stage == stage)]
    if len({name.stage for name in same}) > 1:
        listed = ", ".join(_short(name) for name in same)
        raise UserError(f"more than one stage has a step {text}", where="--checkpoint", remedy=f"write one of {listed}")
    return same[0] if same else None


def _short(name: CheckpointName) -> str:
    return f"{name.stage}-{name.step}"


def _listed(names: Collection[CheckpointName]) -> str:
    shown = [_short(name) for name in list(names)[:_MOST_SHOWN]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
