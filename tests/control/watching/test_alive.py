"""What is alive is seen as it comes and goes, and nothing else is read."""

from pathlib import Path

import pytest

from runner.control.watching.alive import AliveReader
from runner.runs.layout import attempt_key, chunk_key
from runner.runs.records import encoded
from runner.storage.local import LocalStore
from support import stored


class Counting(LocalStore):
    """A store that notes what is read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.read: list[str] = []

    def get(self, key: str) -> bytes:
        """Note the key."""
        self.read.append(key)
        return super().get(key)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counting:
    for name in ("STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    return Counting(tmp_path / "store")


def shown(reader: AliveReader) -> dict[str, str]:
    return {run.status.run_id: run.status.state for run in reader.look().runs}


def test_runs_are_seen_when_they_begin_and_stay_when_they_have_ended(store: Counting) -> None:
    reader = AliveReader(store, clock=lambda: 0.0)
    stored.running(store, "first")
    assert shown(reader) == {"first": "running"}
    stored.running(store, "second")
    assert shown(reader) == {"second": "running", "first": "running"}
    stored.ended(store, "first")
    assert shown(reader) == {"second": "running", "first": "succeeded"}
    assert shown(AliveReader(store)) == {"second": "running"}


def test_a_run_that_is_resumed_is_seen_when_the_store_is_listed_again(store: Counting) -> None:
    now = 0.0
    reader = AliveReader(store, clock=lambda: now)
    stored.submitted(store, "run")
    found = reader.look()
    assert (found.runs, found.asleep) == ([], 1)
    stored.attempted(store, "run")
    store.put(attempt_key("run", 1, "heartbeat"), encoded({"token": stored.TOKEN, "phase": "training"}))
    now = 21.0
    assert shown(reader) == {"run": "running"}


def test_between_listings_only_what_is_alive_is_read(store: Counting) -> None:
    stored.running(store, "alive")
    stored.submitted(store, "asleep")
    stored.ended(store, stored.submitted(store, "over"))
    reader = AliveReader(store, clock=lambda: 0.0)
    reader.look()
    store.read.clear()
    reader.look()
    assert store.read
    assert {key.split("/")[1] for key in store.read} == {"alive"}


def test_new_losses_are_read_once_each(store: Counting) -> None:
    reader = AliveReader(store, clock=lambda: 0.0)
    stored.running(store, "run", losses=[4.0, 3.0])
    (run,) = reader.look().runs
    assert run.details.losses == [(1, 4.0), (2, 3.0)]
    store.create(
        chunk_key("run", "metrics", stored.TOKEN, 2), b'{"stage": "sft", "step": 3, "kind": "train", "loss": 2.5}\n'
    )
    store.read.clear()
    (run,) = reader.look().runs
    assert run.details.losses == [(1, 4.0), (2, 3.0), (3, 2.5)]
    assert chunk_key("run", "metrics", stored.TOKEN, 1) not in store.read


def test_a_run_that_cannot_be_read_is_said_and_hides_no_other(store: Counting) -> None:
    stored.running(store, "good")
    store.create("runs/bad/run.json", b"no json")
    found = AliveReader(store).look()
    assert [run.status.run_id for run in found.runs] == ["good"]
    assert "bad" in found.damaged
