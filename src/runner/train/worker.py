"""The training process: what an attempt starts, with torch in it.

Started by `runner.train.entrypoint` before that knows which checkpoint to go on from: importing torch and transformers
takes seconds, in which the checkpoint is chosen and downloaded. Its assignment comes through standard input.
"""

import argparse
import errno
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from runner.errors import UserError, causes
from runner.exit_codes import FAILED, INTERRUPTED, MISTAKE, SUCCEEDED
from runner.process import die_with_parent
from runner.recipe.recipe import Recipe
from runner.recipe.strategy import asks_for_zero
from runner.runs.attempts import Claim, Superseded
from runner.runs.chunks import ChunkWriter
from runner.runs.records import run_document, run_recipe
from runner.runs.reopened import replacements, with_replaced_inputs
from runner.storage.manifest import Damaged
from runner.storage.open import open_store
from runner.storage.store import StoreUnavailable
from runner.train.agent.events import Events
from runner.train.agent.hangs.stacks import print_stacks_when_asked
from runner.train.agent.log import LOGGER, CallingHandler, logged_to, set_up_logging
from runner.train.agent.outcome import Outcome, OutcomeKind
from runner.train.agent.preemption import CannotResumeHere, NotDurable, Preempted, PreemptionNotice, is_eviction
from runner.train.agent.restore import KEPT
from runner.train.agent.timing import DEFAULT_TIMING
from runner.train.agent.worker_group import WorkerAssignment
from runner.train.builtin.catalog import is_builtin, materialize
from runner.train.checkpointing.divergence import TrainingDiverged
from runner.train.devices.out_of_memory import OutOfMemory
from runner.train.devices.triton import leave_triton_aside
from runner.train.export.errors import HubUnavailable
from runner.train.library_errors import explain
from runner.train.loggers.libraries import quiet_libraries
from runner.train.outside_causes import DATA_REMEDY, is_data_on_gpu, outside_cause
from runner.train.user_code import Place, place_in_user_code

if TYPE_CHECKING:
    from runner.train.checkpointing.checkpointer import Checkpointer
    from runner.train.loggers.metrics_writer import Metrics

_log = logging.getLogger(f"{LOGGER}.worker")

_FULL_DISK = "the disk is full ({}); free some space, then `runner resume` goes on from the last checkpoint"
_STOPPED = "stopped by SIGTERM (Ctrl-C, a preemption or `kill`)"
_MEND = "mend the file; `runner resume RUN --replace FILE` goes on from the last checkpoint with the mended one"
_GOES_ON = "`runner resume` goes on from the last checkpoint"
_EVICTED = "what the attempt needs on this machine has been removed ({})"

_LEFT_OUT_OF_THE_IMAGE = (
    "CUFFT_NOT_SUPPORTED",  # c10::Error of torch.fft: what cuFFT's stand-in answers
    "cusparseLtInit",  # and cuSPARSELt's, at its first call
    "CUDNN_STATUS_NOT_SUPPORTED_SUBLIBRARY_UNAVAILABLE",  # and cuDNN's, of torch.nn.LSTM
    "working triton installation",  # torch._inductor.exc.TritonMissing
)
_REMEDY = "the image leaves this out, and `runner image build --target devel` makes one that has it (docs/image.md)"


class Shown(Enum):
    """What of a failure the training process prints."""

    NOTHING = auto()
    REASON = auto()
    TRACEBACK = auto()
    BOTH = auto()


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why the training ended early, and what was known by then."""

    error: BaseException
    """What was raised."""
    told_to_stop: bool = False
    """SIGTERM had arrived."""
    evicted: bool = False
    """It was caused by the scheduler removing our files."""
    lost_peer: bool = False
    """It says no more than that another training process has gone."""
    restored: bool = False
    """The attempt goes on from a checkpoint: the model and the data that the recipe names were there once."""

    def is_any(self, *types: type[BaseException]) -> bool:
        """Whether the error is of one of these types."""
        return isinstance(self.error, types)

    @property
    def lost_what_it_loads(self) -> bool:
        """Whether a model or data that an earlier attempt has loaded cannot be loaded any more."""
        where = self.error.where if isinstance(self.error, UserError) else None
        return self.restored and where is not None and where.split(".")[0] in ("model", "data")

    @property
    def comes_from_outside(self) -> bool:
        """Whether a service, a network mount or a GPU failed, or what the recipe names is not there for now."""
        return self.lost_what_it_loads or outside_cause(self.error) is not None

    @property
    def is_disk_full(self) -> bool:
        """Whether a disk had no room left."""
        return any(
            getattr(cause, "errno", None) == errno.ENOSPC or "No space left on device" in str(cause)
            for cause in causes(self.error)
        )

    @property
    def name_and_message(self) -> str:
        """The last lines of a traceback."""
        return "".join(traceback.format_exception_only(self.error)).strip()

    @property
    def place(self) -> Place | None:
        """The line of the user's own code that it came through."""
        return place_in_user_code(self.error)

    @property
    def placed(self) -> str:
        """The last lines of a traceback, after the line of the user's own code if there is one."""
        return self.name_and_message if self.place is None else f"{self.place}: {self.name_and_message}"

    @property
    def of_written_code(self) -> bool:
        """Whether it came through code that was written for this run, such as a reward function."""
        return self.place is not None and not self.place.of_model


@dataclass(frozen=True, kw_only=True)
class WorkerOutcome:
    """What a training process reports, prints and exits with."""

    outcome: Outcome
    """The report."""
    exit_code: int
    """The exit code."""
    shown: Shown = Shown.NOTHING
    """What is printed."""


class _Row(NamedTuple):
    """One kind of failure."""

    applies: Callable[[Failure], bool]
    kind: OutcomeKind
    reason: Callable[[Failure], str]
    retry: bool
    exit_code: int = INTERRUPTED
    shown: Shown = Shown.NOTHING
    lost_peer: bool = False
    outside: bool = False


def _why_it_cannot_be_loaded(failure: Failure) -> str:
    """Say what is away now; the remedies for what was never there would mislead."""
    error = failure.error
    assert isinstance(error, UserError)
    where = f"{error.where}: " if error.where else ""
    before = " (it was there before)" if failure.lost_what_it_loads else ""
    return f"{where}{error.what}{before}; {_GOES_ON}"


_FAILURES = (
    _Row(lambda f: f.is_any(Preempted), "interrupted", lambda f: _STOPPED, retry=True),
    _Row(lambda f: f.is_any(Superseded), "superseded", lambda f: str(f.error), retry=False),
    _Row(
        lambda f: f.is_any(HubUnavailable),
        "interrupted",
        lambda f: f"{f.error}; `runner resume` pushes again, and what is made already stays",
        retry=False,
    ),
    _Row(lambda f: f.is_any(OutOfMemory), "out_of_memory", lambda f: str(f.error), retry=True, exit_code=FAILED),
    _Row(lambda f: f.is_any(CannotResumeHere), "interrupted", lambda f: str(f.error), retry=False, shown=Shown.REASON),
    *(
        _Row(
            lambda f, retry=retry: isinstance(f.error, NotDurable) and f.error.retry == retry,  # type: ignore[misc]
            "interrupted",
            lambda f: str(f.error),
            retry=retry,
            shown=Shown.REASON,
        )
        for retry in (False, True)
    ),
    _Row(
        lambda f: f.is_any(UserError) and f.evicted,
        "interrupted",
        lambda f: _EVICTED.format(f.error),
        retry=True,
        shown=Shown.REASON,
    ),
    _Row(
        lambda f: f.is_any(UserError) and f.comes_from_outside,
        "interrupted",
        _why_it_cannot_be_loaded,
        retry=True,
        shown=Shown.REASON,
        outside=True,
    ),
    _Row(
        lambda f: f.is_any(UserError),
        "failed",
        lambda f: str(f.error),
        retry=False,
        exit_code=MISTAKE,
        shown=Shown.REASON,
    ),
    _Row(
        lambda f: f.is_any(TrainingDiverged),
        "failed",
        lambda f: str(f.error),
        retry=False,
        exit_code=FAILED,
        shown=Shown.REASON,
    ),
    _Row(
        lambda f: f.is_any(Damaged),
        "failed",
        lambda f: f"damaged in the store: {f.error}",
        retry=False,
        exit_code=FAILED,
        shown=Shown.REASON,
    ),
    _Row(
        lambda f: f.is_disk_full, "interrupted", lambda f: _FULL_DISK.format(f.error), retry=False, shown=Shown.REASON
    ),
    _Row(
        lambda f: f.is_any(StoreUnavailable),
        "interrupted",
        lambda f: f"the store does not answer: {f.error}",
        retry=True,
    ),
    _Row(
        # Nothing is printed: the process that went away says why.
        lambda f: f.lost_peer,
        "failed",
        lambda f: f.name_and_message.splitlines()[0],
        retry=True,
        exit_code=FAILED,
        lost_peer=True,
    ),
    _Row(
        lambda f: f.told_to_stop,
        "interrupted",
        lambda f: f"{_STOPPED}, and then: {f.name_and_message}",
        retry=True,
        shown=Shown.TRACEBACK,
    ),
    _Row(
        lambda f: f.evicted,
        "interrupted",
        lambda f: _EVICTED.format(f.name_and_message),
        retry=True,
        shown=Shown.BOTH,
    ),
    _Row(
        lambda f: f.comes_from_outside,
        "interrupted",
        lambda f: f"{f'{f.place}: ' if f.place else ''}{outside_cause(f.error)}; {_GOES_ON}",
        retry=True,
        shown=Shown.BOTH,
        outside=True,
    ),
    _Row(
        lambda f: f.of_written_code and not is_data_on_gpu(f.error),
        "failed",
        lambda f: f"{f.placed}; {_MEND}",
        retry=False,
        exit_code=FAILED,
        shown=Shown.TRACEBACK,
    ),
    _Row(
        lambda f: explain(f.error) is not None,
        "failed",
        lambda f: str(explain(f.error)),
        retry=False,
        exit_code=MISTAKE,
        shown=Shown.REASON,
    ),
    _Row(
        lambda f: is_data_on_gpu(f.error),
        "failed",
        lambda f: f"{f.name_and_message.splitlines()[0]}\n  {DATA_REMEDY}",
        retry=False,
        exit_code=FAILED,
        shown=Shown.TRACEBACK,
    ),
    _Row(
        lambda f: True,
        "failed",
        lambda f: with_remedy(f.placed),
        retry=False,
        exit_code=FAILED,
        shown=Shown.TRACEBACK,
    ),
)
"""Kinds of failure; the first that applies counts."""


def classify(failure: Failure) -> WorkerOutcome:
    """Return what follows from a failure of the training. Pure: it looks at nothing but its argument."""
    row = next(row for row in _FAILURES if row.applies(failure))
    split = list(failure.error.split) if isinstance(failure.error, OutOfMemory) else None
    outcome = Outcome(
        kind=row.kind,
        reason=row.reason(failure),
        retry=row.retry,
        split=split,
        lost_peer=row.lost_peer,
        outside=row.outside,
    )
    return WorkerOutcome(outcome=outcome, exit_code=row.exit_code, shown=row.shown)


def ended(result: Mapping[str, Any]) -> Outcome:
    """Return the outcome of a training that came to its end, or was ended by its owner to keep the model. Pure."""
    if not result.get("finished_early"):
        return Outcome(kind="succeeded", reason=None, retry=False, result=result)
    result = {name: value for name, value in result.items() if name != "finished_early"}
    stage = f" of stage {result['stages'][-1]['stage']}" if result.get("stages") else ""
    where = f"step {result.get('step')} of {result.get('max_steps')}{stage}"
    reason = f"ended at {where} by `runner cancel --keep-model`; its model is kept"
    return Outcome(kind="cancelled", reason=reason, retry=False, result=result)


def with_remedy(reason: str) -> str:
    """Append a hint if the failure comes from a library that the slim image omits."""
    return f"{reason}\n  {_REMEDY}" if any(words in reason for words in _LEFT_OUT_OF_THE_IMAGE) else reason


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
    )
    try:
        result = run_stages(attempt, recipe, restored=restored, script=lambda stage: method_script(stage.method).train)
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
