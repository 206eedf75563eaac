"""How a training process reports a failure; if the image leaves something out, it names the image that has it."""

import errno

import pytest
from torch._inductor.exc import TritonMissing

from runner.errors import UserError
from runner.runs.attempts import Superseded
from runner.storage.store import StoreFull, StoreUnavailable
from runner.train.agent.preemption import CannotResumeHere, Preempted
from runner.train.devices.out_of_memory import OutOfMemory
from runner.train.export.errors import GgufFailed, HubUnavailable, MergeFailed
from runner.train.failures import Failure, Shown, classify, with_remedy

FULL = OSError(errno.ENOSPC, "No space left on device")


def caused_by(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind", "retry", "exit_code", "shown", "words"),
    [
        (Preempted(), "interrupted", True, 75, Shown.NOTHING, "stopped by SIGTERM (Ctrl-C, a preemption or `kill`)"),
        (Superseded("attempt 3 has begun"), "superseded", False, 75, Shown.NOTHING, "attempt 3 has begun"),
        (StoreUnavailable("timeout"), "interrupted", True, 75, Shown.NOTHING, "the store does not answer: timeout"),
        (HubUnavailable("503"), "interrupted", False, 75, Shown.NOTHING, "`runner resume` pushes again"),
        (OutOfMemory("memory ran out", (4, 2)), "out_of_memory", True, 1, Shown.NOTHING, "memory ran out"),
        (CannotResumeHere("2 processes"), "interrupted", False, 75, Shown.REASON, "2 processes"),
        (UserError("no such file", where="data"), "failed", False, 2, Shown.REASON, "no such file"),
        (MergeFailed("the logits are off"), "failed", False, 1, Shown.REASON, "the logits are off"),
        (GgufFailed("it says nothing"), "failed", False, 1, Shown.REASON, "it says nothing"),
        (FULL, "interrupted", False, 75, Shown.REASON, "the disk is full"),
        (StoreFull(errno.ENOSPC, "no room"), "interrupted", False, 75, Shown.REASON, "the disk is full"),
        (caused_by(StoreUnavailable("x"), FULL), "interrupted", False, 75, Shown.REASON, "the disk is full"),
        (caused_by(RuntimeError("x"), FULL), "interrupted", False, 75, Shown.REASON, "the disk is full"),
        (ValueError("nonsense"), "failed", False, 1, Shown.TRACEBACK, "ValueError: nonsense"),
        (RuntimeError("CUFFT_NOT_SUPPORTED"), "failed", False, 1, Shown.TRACEBACK, "--target devel"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_each_failure_has_its_outcome(
    error: BaseException, kind: str, retry: bool, exit_code: int, shown: Shown, words: str
) -> None:
    end = classify(Failure(error=error))
    assert (end.outcome.kind, end.outcome.retry, end.exit_code, end.shown) == (kind, retry, exit_code, shown)
    assert words in str(end.outcome.reason)
    assert not end.outcome.lost_peer


def test_a_shortage_of_memory_names_the_split() -> None:
    assert classify(Failure(error=OutOfMemory("memory ran out", (4, 2)))).outcome.split == [4, 2]


def test_a_failure_after_sigterm_is_an_interruption() -> None:
    end = classify(Failure(error=RuntimeError("broken pipe"), told_to_stop=True))
    assert (end.outcome.kind, end.outcome.retry, end.exit_code, end.shown) == ("interrupted", True, 75, Shown.TRACEBACK)
    assert (
        end.outcome.reason == "stopped by SIGTERM (Ctrl-C, a preemption or `kill`), and then: RuntimeError: broken pipe"
    )


@pytest.mark.parametrize(
    ("error", "shown"), [(UserError("no such file"), Shown.REASON), (ValueError("no such file"), Shown.BOTH)]
)
def test_a_failure_because_our_files_were_removed_is_an_interruption(error: Exception, shown: Shown) -> None:
    end = classify(Failure(error=error, evicted=True))
    assert (end.outcome.kind, end.outcome.retry, end.exit_code, end.shown) == ("interrupted", True, 75, shown)
    assert "has been removed" in str(end.outcome.reason)


def test_a_lost_peer_is_reported_in_one_line_and_without_noise() -> None:
    """Also after SIGTERM: whichever process had the first cause reports that."""
    failure = Failure(error=RuntimeError("Connection closed\nby peer"), lost_peer=True, told_to_stop=True)
    end = classify(failure)
    assert (end.outcome.kind, end.outcome.retry, end.exit_code, end.shown) == ("failed", True, 1, Shown.NOTHING)
    assert (end.outcome.reason, end.outcome.lost_peer) == ("RuntimeError: Connection closed", True)


def test_a_mistake_stays_one_whatever_else_is_known() -> None:
    failure = Failure(error=UserError("no such file"), lost_peer=True, told_to_stop=True)
    assert classify(failure).exit_code == 2


@pytest.mark.parametrize(
    "reason",
    [
        "RuntimeError: cuFFT error: CUFFT_NOT_SUPPORTED",
        "RuntimeError: CUDA error: operation not supported when calling `cusparseLtInit(&handle)`",
        "RuntimeError: cuDNN error: CUDNN_STATUS_NOT_SUPPORTED_SUBLIBRARY_UNAVAILABLE",
        f"torch._inductor.exc.TritonMissing: {TritonMissing(None)}",
    ],
)
def test_the_image_that_has_it_is_named(reason: str) -> None:
    assert with_remedy(reason).startswith(f"{reason}\n")
    assert "--target devel" in with_remedy(reason)


def test_other_failures_are_left_as_they_are() -> None:
    assert with_remedy("RuntimeError: CUFFT_INTERNAL_ERROR") == "RuntimeError: CUFFT_INTERNAL_ERROR"
