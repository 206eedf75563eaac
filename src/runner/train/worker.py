"""The training process: what an attempt starts, with torch in it.

Started by `runner.train.entrypoint` before that knows which checkpoint to go on from: importing torch and transformers
takes seconds, in which the checkpoint is chosen and downloaded. It is told through standard input.
"""

import argparse
import errno
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runner.errors import UserError, causes
from runner.exit_codes import INTERRUPTED
from runner.process import die_with_parent
from runner.recipe.recipe import Recipe
from runner.recipe.strategy import asks_for_zero
from runner.runs.attempts import Claim, Superseded
from runner.runs.chunks import ChunkWriter
from runner.runs.records import run_document, run_recipe
from runner.storage.open import open_store
from runner.storage.store import StoreUnavailable
from runner.train.agent.events import Events
from runner.train.agent.preemption import (
    CannotResumeHere,
    Preempted,
    PreemptionNotice,
    is_eviction,
)
from runner.train.builtin.catalog import is_builtin, materialize
from runner.train.devices.out_of_memory import OutOfMemory
from runner.train.devices.triton import leave_triton_aside
from runner.train.export.errors import HubUnavailable

GRACE_SECONDS = 25.0
"""How long a preempted attempt goes on uploading: clouds give 30 s (Google Cloud) to 120 s (AWS) of notice."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, and tell the attempt how it went; the exit code is the attempt's."""
    parser = argparse.ArgumentParser(prog="python -m runner.train.worker")
    parser.add_argument("--store", required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--cache-dir", type=Path, required=True)
    parser.add_argument("--events", type=int, required=True, help="file descriptor to write events to")
    parser.add_argument("--local-rank", type=int, default=0, help="which of this machine's training processes this is")
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args(arguments)
    die_with_parent(options.parent)
    notice = PreemptionNotice()
    notice.install()
    events = Events(options.events)
    try:
        result = _train(options, notice, events)
    except Preempted:
        events.send("outcome", outcome="interrupted", reason="told to stop (SIGTERM)", retry=True)
        return INTERRUPTED
    except Superseded as error:
        events.send("outcome", outcome="superseded", reason=str(error), retry=False)
        return INTERRUPTED
    except StoreUnavailable as error:
        if _is_disk_full(error):
            return _interrupted_by_full_disk(events, error)
        events.send("outcome", outcome="interrupted", reason=f"the store does not answer: {error}", retry=True)
        return INTERRUPTED
    except HubUnavailable as error:
        reason = f"{error}; `runner resume` pushes again, and what is made already stays"
        events.send("outcome", outcome="interrupted", reason=reason, retry=False)
        return INTERRUPTED
    except OutOfMemory as error:
        events.send("outcome", outcome="out_of_memory", reason=error.reason, retry=True, split=error.split)
        return 1
    except CannotResumeHere as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        events.send("outcome", outcome="interrupted", reason=str(error), retry=False)
        return INTERRUPTED
    except UserError as error:
        if is_eviction(error, options.work_dir):
            return _interrupted_by_departure(events, str(error))
        print(f"error: {error}", file=sys.stderr, flush=True)
        events.send("outcome", outcome="failed", reason=str(error), retry=False)
        return 2
    except Exception as error:  # noqa: BLE001 (whatever it is, it is reported, and the run has failed)
        if _is_disk_full(error):
            return _interrupted_by_full_disk(events, error)
        reason = "".join(traceback.format_exception_only(error)).strip()
        if _is_lost_peer(error):
            # Its own machine says why; here it is no more than noise.
            events.send("outcome", outcome="failed", reason=reason.splitlines()[0], retry=True, lost_peer=True)
            return 1
        traceback.print_exc()
        if notice.given:
            told = f"told to stop (SIGTERM), and then: {reason}"
            events.send("outcome", outcome="interrupted", reason=told, retry=True)
            return INTERRUPTED
        if is_eviction(error, options.work_dir):
            return _interrupted_by_departure(events, reason)
        events.send("outcome", outcome="failed", reason=with_remedy(reason), retry=False)
        return 1
    events.send("outcome", outcome="succeeded", reason=None, retry=False, result=result)
    return 0


def _train(options: argparse.Namespace, notice: PreemptionNotice, events: Events) -> dict[str, Any]:
    events.phase("starting", "importing torch and transformers")
    leave_triton_aside()
    # Heavy, so imported here: the signal handlers stand by now. `stage_run` brings what all methods need.
    from runner.train.checkpointing.checkpointer import Checkpointer
    from runner.train.devices.distributed import init_distributed, silence_other_ranks
    from runner.train.loggers.metrics_writer import Metrics
    from runner.train.methods.registry import method_script
    from runner.train.stages import steps  # noqa: F401
    from runner.train.stages.context import Context
    from runner.train.stages.run import run

    assignment = json.loads(sys.stdin.readline())
    claim = Claim(options.run, assignment["number"], assignment["token"])
    store = open_store(options.store)
    recipe = run_recipe(run_document(store, options.run))
    restored = None if assignment["checkpoint"] is None else Path(assignment["checkpoint"])
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
    metrics = Metrics(writer if process_info.is_main_process else None, events)  # the first's records are everybody's
    checkpointer = Checkpointer(
        store,
        claim,
        staging=folder / ("staging" if process_info.is_main_process else f"staging-{process_info.rank}"),
        rank=process_info.rank,
        before_manifest=metrics.flush,
        on_committed=lambda step: events.progress(force=True, checkpoint_step=step),
        on_warning=lambda text: print(f"warning: {text}", file=sys.stderr, flush=True),
    )
    context = Context(
        recipe=recipe,
        store=store,
        claim=claim,
        folder=folder,
        shared_folder=options.work_dir / "shared",
        cache=options.cache_dir,
        restored=restored,
        split=assignment["split"],
        events=events,
        notice=notice,
        metrics=metrics,
        checkpointer=checkpointer,
        process_info=process_info,
    )
    try:
        return run(context, recipe, lambda stage: method_script(stage.method).train)
    except (Preempted, OutOfMemory):
        events.phase("ending", "uploading the last checkpoint")
        checkpointer.finish(within_seconds=GRACE_SECONDS)
        metrics.flush()
        raise


def _check_exports(recipe: Recipe) -> None:
    """Look for what is missing at the end, before anything is paid for."""
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


def _is_disk_full(error: BaseException | None) -> bool:
    return any(
        getattr(cause, "errno", None) == errno.ENOSPC or "No space left on device" in str(cause)
        for cause in causes(error)
    )


def _interrupted_by_full_disk(events: Events, error: BaseException) -> int:
    reason = f"the disk is full ({error}); free some space, then `runner resume` goes on from the last checkpoint"
    print(f"error: {reason}", file=sys.stderr, flush=True)
    events.send("outcome", outcome="interrupted", reason=reason, retry=False)
    return INTERRUPTED


def _interrupted_by_departure(events: Events, reason: str) -> int:
    reason = f"what the attempt needs on this machine has been removed ({reason})"
    print(f"error: {reason}", file=sys.stderr, flush=True)
    events.send("outcome", outcome="interrupted", reason=reason, retry=True)
    return INTERRUPTED


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not `sys.exit`: threads of libraries that wait for a dead store must not hold the process.
    os._exit(code)


_SAID = (
    "CUFFT_NOT_SUPPORTED",  # c10::Error of torch.fft: what cuFFT's stand-in answers
    "cusparseLtInit",  # and cuSPARSELt's, at its first call
    "CUDNN_STATUS_NOT_SUPPORTED_SUBLIBRARY_UNAVAILABLE",  # and cuDNN's, of torch.nn.LSTM
    "working triton installation",  # torch._inductor.exc.TritonMissing
)


_REMEDY = "the image leaves this out, and `runner image build --target devel` makes one that has it (docs/image.md)"


def with_remedy(reason: str) -> str:
    """The reason of a failure, and where it is for want of what the image leaves out, the image that has it."""
    return f"{reason}\n  {_REMEDY}" if any(words in reason for words in _SAID) else reason
