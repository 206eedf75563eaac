"""A store that is away for a while costs patience and nothing else."""

import time

import pytest

from runner.errors import UserError
from runner.storage.retry import after, retrying
from runner.storage.store import NotFound, StoreUnavailable


class Flaky:
    """Fails as often as told, then answers."""

    def __init__(self, failures: int) -> None:
        self.calls = 0
        self.failures = failures

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise StoreUnavailable(f"away, time {self.calls}")
        return "answer"


def test_it_comes_back_and_the_call_goes_through() -> None:
    """Each failure is told, with a pause that grows and varies."""
    told: list[tuple[str, float]] = []
    call = Flaky(4)
    found = retrying(
        call,
        until=after(30),
        on_retry=lambda error, seconds: told.append((str(error), seconds)),
        first_seconds=0.01,
        longest_seconds=0.02,
    )
    assert found == "answer"
    assert [text for text, _ in told] == [f"away, time {count}" for count in (1, 2, 3, 4)]
    for (_, seconds), longest in zip(told, (0.01, 0.02, 0.02, 0.02), strict=True):
        assert longest / 2 <= seconds <= longest


def test_enough_is_enough() -> None:
    """Once `until` is true, the last failure is raised, in the middle of a pause too."""
    start = time.monotonic()
    with pytest.raises(StoreUnavailable, match="time 1"):
        retrying(Flaky(9), until=after(0.3), first_seconds=60, longest_seconds=60)
    assert time.monotonic() - start < 30


def test_no_patience_is_one_call() -> None:
    """The pause is not begun."""
    call = Flaky(1)
    with pytest.raises(StoreUnavailable):
        retrying(call, until=lambda: True)
    assert call.calls == 1


@pytest.mark.parametrize("error", [NotFound("key"), UserError("refused"), OSError(28, "full"), ValueError("bug")])
def test_other_failures_are_raised_at_once(error: Exception) -> None:
    """Waiting would not mend them."""

    def call() -> None:
        raise error

    with pytest.raises(type(error)):
        retrying(call, until=lambda: False)
