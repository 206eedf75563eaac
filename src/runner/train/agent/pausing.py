"""An attempt that is to pause at a step, where an earlier one has got there already: no process has to be started."""

import logging
from collections.abc import Sequence

from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.layout import CheckpointName, checkpoint_prefix
from runner.storage.commit import read_manifest
from runner.storage.manifest import Damaged
from runner.storage.store import NotFound, Store
from runner.train.agent.outcome import Outcome
from runner.train.agent.preemption import paused_at

_log = logging.getLogger(__name__)


def checkpoint_to_pause_at(
    store: Store, run_id: str, until_step: int, *, stages: Sequence[str] = ()
) -> tuple[CheckpointName, int | None] | None:
    """Return the newest checkpoint if the run was to pause there or before, and how many steps the run has in all.

    A checkpoint of the end of training is none of them: what is left to do for that run is little, and is done. The
    files are not verified: the attempt that goes on from them does that, and takes the checkpoint before if it has to.

    Args:
        store: where the run lives.
        run_id: the run.
        until_step: where it pauses, in its last stage.
        stages: the names of the run's stages; empty for a run without stages.
    """
    newest = next(iter(checkpoints(store, run_id)), None)
    if newest is None or newest.step < until_step or (stages and newest.stage != stages[-1]):
        return None
    try:
        metadata = read_manifest(store, checkpoint_prefix(run_id, newest)).metadata
    except (Damaged, NotFound):
        return None
    if metadata.get("complete"):
        return None
    max_steps = metadata.get("max_steps")
    return newest, max_steps if type(max_steps) is int else None


def paused(step: int) -> Outcome:
    """Return the outcome of an attempt that has nothing to do before its sweep wants more steps."""
    return Outcome(kind="interrupted", reason=paused_at(step), retry=False, paused=True)
