"""What follows from an error that ends a training: the report, the exit code, and what is printed.

Pure, so that each kind of failure can be tested without a process. Imports no torch.
"""

import errno
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, NamedTuple

from runner.errors import UserError, causes
from runner.exit_codes import FAILED, INTERRUPTED, MISTAKE
from runner.runs.attempts import Superseded
from runner.storage.manifest import Damaged
from runner.storage.store import StoreUnavailable
from runner.train.agent.outcome import Cause, Outcome, OutcomeKind
from runner.train.agent.preemption import CannotResumeHere, NotDurable, Paused, Preempted
from runner.train.checkpointing.divergence import TrainingDiverged
from runner.train.devices.out_of_memory import OutOfMemory
from runner.train.export.errors import GgufFailed, HubUnavailable, MergeFailed
from runner.train.library_errors.explain import explain
from runner.train.outside_causes import DATA_REMEDY, is_data_on_gpu, outside_cause
from runner.train.user_code import Place, place_in_user_code

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
    paused: bool = False
    cause: Cause | None = None


def _why_it_cannot_be_loaded(failure: Failure) -> str:
    """Say what is away now; the remedies for what was never there would mislead."""
    error = failure.error
    assert isinstance(error, UserError)
    where = f"{error.where}: " if error.where else ""
    before = " (it was there before)" if failure.lost_what_it_loads else ""
    return f"{where}{error.what}{before}; {_GOES_ON}"


_FAILURES = (
    _Row(lambda f: f.is_any(Paused), "interrupted", lambda f: str(f.error), retry=False, paused=True),
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
        cause="diverged",
    ),
    _Row(
        lambda f: f.is_any(MergeFailed, GgufFailed),
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
        paused=row.paused,
        cause=row.cause,
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
