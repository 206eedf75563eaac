"""The probe tells at once what would otherwise go wrong after an hour of training."""

import errno
from pathlib import Path

import pytest

from runner.errors import UserError
from runner.storage.local import LocalStore
from runner.storage.probe import probe
from runner.storage.store import Store, StoreFull, StoreUnavailable
from support.fakes.memory_store import MemoryStore


def test_a_folder_honours_conditional_writes(tmp_path: Path) -> None:
    """And nothing of the probe stays but the folder."""
    assert probe(LocalStore(tmp_path / "store")).honours_conditional_writes
    assert list((tmp_path / "store").iterdir()) == []


class _Deaf(MemoryStore):
    """Answers yes to every conditional write, and overwrites."""

    def create_blindly(self, key: str, data: bytes) -> bool:
        self.put(key, data)
        return True


def test_a_store_that_ignores_conditions_is_found_out() -> None:
    """Some compatible servers do, silently."""
    store = _Deaf()
    assert not probe(store).honours_conditional_writes
    assert store.conditional is False
    assert store.data == {}


def _failing(at: str, error: Exception) -> Store:
    def step(request: str) -> None:
        if request.startswith(at):
            raise error

    return MemoryStore(step=step)


def test_a_full_store_is_the_callers_mistake() -> None:
    """Found before a run is begun."""
    with pytest.raises(UserError, match="no room left"):
        probe(_failing("create", StoreFull(errno.ENOSPC, "full")))


@pytest.mark.parametrize("request_kind", ["create", "get", "delete"])
def test_what_is_not_allowed_is_said(request_kind: str) -> None:
    """Writing, reading and deleting are all needed later."""
    with pytest.raises(UserError, match="refuses us"):
        probe(_failing(request_kind, UserError("the store refuses us")))


def test_an_absent_store_is_no_mistake() -> None:
    """Whoever asks may want to wait for it."""
    with pytest.raises(StoreUnavailable):
        probe(_failing("create", StoreUnavailable("away")))


class _Forgetful(MemoryStore):
    def get(self, key: str) -> bytes:
        return super().get(key)[:0]


def test_a_store_that_loses_bytes_is_refused() -> None:
    """What was written must come back."""
    with pytest.raises(UserError, match="does not give back"):
        probe(_Forgetful())
