"""The training process: what an attempt starts, with torch in it.

Started by `runner.train.entrypoint` before that knows which checkpoint to go on from: importing torch and transformers
takes seconds, in which the checkpoint is chosen and downloaded. Its assignment comes through standard input.
"""

import argparse
import json
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.exit_codes import SUCCEEDED
from runner.process import die_with_parent
from runner.recipe.recipe import Recipe
from runner.recipe.strategy import asks_for_zero
from runner.runs.attempts import Claim
from runner.runs.chunks import ChunkWriter
from runner.runs.records import run_document, run_recipe
from runner.runs.reopened import replacements, with_replaced_inputs
from runner.storage.open import open_store
from runner.train.agent.events import Events
from runner.train.agent.hangs.stacks import print_stacks_when_asked
from runner.train.agent.log import LOGGER, CallingHandler, logged_to, set_up_logging
from runner.train.agent.preemption import Preempted, PreemptionNotice, is_eviction
from runner.train.agent.restore import KEPT
from runner.train.agent.timing import DEFAULT_TIMING
from runner.train.agent.worker_group import WorkerAssignment
from runner.train.builtin.catalog import is_builtin, materialize
from runner.train.devices.out_of_memory import OutOfMemory
from runner.train.devices.triton import leave_triton_aside, use_small_tiles
from runner.train.failures import Failure, Shown, WorkerOutcome, classify, ended
from runner.train.loggers.libraries import quiet_libraries

if TYPE_CHECKING:
    from runner.train.checkpointing.checkpointer import Checkpointer
    from runner.train.loggers.metrics_writer import Metrics

_log = logging.getLogger(f"{LOGGER}.worker")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, and report to the agent how it went; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m runner.train.worker")
    parser.add_argument("--store", required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--cache-dir", type=Path, required=True)
    parser.add_argument("--events", type=int, required=True, help="file descriptor to write events to")
    parser.add_argument("--local-rank", type=int, default=0, help="which of this machine's training processes this is")
    parser.add_argument("--finish-seconds", type=float, default=DEFAULT_TIMING.finish, help="`finish` of `Timing`")
    parser.add_argument("--grace-seconds", type=float, default=DEFAULT_TIMING.preemption_grace, help="and its grace")
    parser.add_argument("--until-step", type=int, help="pause at this optimizer step of the last stage")
    parser.add_argument("--schedule-steps", type=int, help="where the learning rate's schedule ends")
    parser.add_argument("--kept-rows", type=Path, help="where prepared rows are kept for the next trials")
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args(arguments)
    die_with_parent(options.parent)
    set_up_logging()
    print_stacks_when_asked()
    notice = PreemptionNotice()
    notice.install()
    events = Events(options.events)

    def send_notice(level: int, text: str) -> None:
        events.send("notice", level=logging.getLevelName(level).lower(), text=text)

    known = _Known()
    try:
        with logged_to(CallingHandler(send_notice, only_notices=True)):
            result = _train(options, notice, events, known)
    except (Exception, Preempted) as error:  # noqa: BLE001 (whatever it is, it is reported)
        failure = Failure(
            error=error,
            told_to_stop=notice.given,
            evicted=is_eviction(error, options.work_dir),
            lost_peer=_is_lost_peer(error),
            restored=known.restored,
        )
        end = classify(failure)
        if end.shown in (Shown.TRACEBACK, Shown.BOTH):
            traceback.print_exception(error)
        if end.shown in (Shown.REASON, Shown.BOTH):
            _log.error("%s", end.outcome.reason)
    else:
        end = WorkerOutcome(outcome=ended(result), exit_code=SUCCEEDED)
    events.send("outcome", **end.outcome.to_record())
    return end.exit_code


@dataclass(kw_only=True)
class _Known:
    """What the training has found out by the time it ends, however it ends."""

    restored: bool = False
    """Whether the attempt goes on from a checkpoint."""


def _train(options: argparse.Namespace, notice: PreemptionNotice, events: Events, known: _Known) -> dict[str, Any]:
    events.phase("starting", "importing torch and transformers")
    leave_triton_aside()
    quiet_libraries()
    # Heavy, so imported here: the signal handlers are installed by now. `steps` brings what all methods need.
    from runner.train.checkpointing.checkpointer import Checkpointer
    from runner.train.devices.distributed import init_distributed, silence_other_ranks
    from runner.train.loggers.metrics_writer import Metrics
    from runner.train.methods.registry import method_script
    from runner.train.stages import steps  # noqa: F401
    from runner.train.stages.context import AttemptContext
    from runner.train.stages.run import run_stages
    from runner.train.start_model import make_start

    use_small_tiles()
    assignment: WorkerAssignment = json.loads(sys.stdin.readline())
    claim = Claim(options.run, assignment["number"], assignment["token"])
    store = open_store(options.store)
    replaced = replacements(store, options.run)
    recipe = run_recipe(with_replaced_inputs(run_document(store, options.run), replaced))
    restored = None if assignment["checkpoint"] is None else Path(assignment["checkpoint"])
    known.restored = restored is not None
    model = str(recipe.model["model_name_or_path"])
    if is_builtin(model):
        # Among several processes, transformers has only the first write a model.
        materialize(model, options.cache_dir)
    process_info = init_distributed(
        assignment, local_rank=options.local_rank, deepspeed=any(map(asks_for_zero, recipe.in_order))
    )
    silence_other_ranks(process_info)
    if process_info.is_main_process:
        _check_exports(recipe)
    folder = options.work_dir / f"attempt-{claim.token}"
    folder.mkdir(parents=True, exist_ok=True)
    writer = ChunkWriter(store, options.run, "metrics", claim.token)
    metrics = Metrics(writer if process_info.is_main_process else None, events)  # the first process logs for all
    checkpointer = Checkpointer(
        store,
        claim,
        staging=folder / ("staging" if process_info.is_main_process else f"staging-{process_info.rank}"),
        rank=process_info.rank,
        keep=options.work_dir / KEPT,
        unwritten=writer.unwritten,
        before_manifest=metrics.flush,
        on_committed=lambda step: events.progress(force=True, checkpoint_step=step),
        on_warning=_log.warning,
    )
    attempt = AttemptContext(
        store=store,
        claim=claim,
        folder=folder,
        shared_folder=options.work_dir / "shared",
        cache=options.cache_dir,
        split=assignment["split"],
        events=events,
        notice=notice,
        metrics=metrics,
        checkpointer=checkpointer,
        process_info=process_info,
        finish_seconds=options.finish_seconds,
        until_step=options.until_step,
        schedule_steps=options.schedule_steps,
        kept_rows=options.kept_rows,
    )
    try:
        result = run_stages(
            attempt,
            recipe,
            restored=restored,
            script=lambda stage: method_script(stage.method).train,
            make_start=make_start,
        )
        return {**result, "replaced": replaced} if replaced else result
    except (Preempted, OutOfMemory):
        events.phase("ending", "uploading the last checkpoint")
        checkpointer.finish(within_seconds=options.grace_seconds)
        metrics.flush()
        raise
    except Exception:
        # A save ends during the step after it: an error in that step must not cost the checkpoint.
        seconds = options.grace_seconds if notice.given else options.finish_seconds
        _save_what_was_taken(checkpointer, metrics, events, within_seconds=seconds)
        raise


def _save_what_was_taken(
    checkpointer: "Checkpointer", metrics: "Metrics", events: Events, *, within_seconds: float
) -> None:
    """Finish the checkpoints that were begun before an error, which counts more than one of theirs."""
    events.phase("ending", "uploading the last checkpoint")
    try:
        checkpointer.finish(within_seconds=within_seconds)
        metrics.flush()
    except Exception as error:  # noqa: BLE001 (the error that ends the training is raised again)
        _log.warning("the last checkpoint may be missing: %s", error)


def _check_exports(recipe: Recipe) -> None:
    """Check what the exports at the end of the run need, before any training is paid for."""
    if recipe.export.push_to_hub:
        from runner.train.export.hub_push import check_hub

        check_hub(recipe.export, name=recipe.name)
    if recipe.export.gguf:
        from runner.train.export.gguf import require_gguf

        require_gguf()


def _is_lost_peer(error: BaseException) -> bool:
    if "torch.distributed" not in sys.modules:
        return False
    from runner.train.devices.distributed import is_peer_failure

    return is_peer_failure(error)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not `sys.exit`: threads of libraries that wait for a dead store must not hold the process.
    os._exit(code)
