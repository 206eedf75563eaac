"""All commands work the same on a run that lives in an object store, and from a machine that never saw it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.control.watching.alive import AliveReader
from runner.storage.open import open_store
from runner.storage.store import Store
from support import stored
from support.bench import Bench
from support.servers.s3 import BUCKET, S3Server


@pytest.fixture
def remote(bench: Bench, use_server: Callable[[str], S3Server]) -> Bench:
    """The bench, with its store in a bucket."""
    server = use_server("moto")
    bench.environment |= server.environment() | {"RUNNER_STORE": f"s3://{BUCKET}/{bench.folder.name}"}
    bench.store = open_store(bench.environment["RUNNER_STORE"])
    return bench


def test_a_run_in_a_bucket_is_launched_interrupted_resumed_and_pulled(remote: Bench, tmp_path: Path) -> None:
    remote.recipe()
    interrupted = remote.runner("launch", "small.yaml", "--name", "try", plan={"1": ["kill", 3], "2": ["stop", 5]})
    assert interrupted.returncode == 75, interrupted
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME"):  # another machine
        remote.environment[name] = str(tmp_path / "elsewhere" / name)
    resumed = remote.runner("resume", "try")
    assert resumed.returncode == 0, resumed
    assert "attempt 3 continues from step 4" in resumed.stderr
    records = json.loads(remote.runner("metrics", "try", "--json").stdout)
    assert [record["step"] for record in records] == list(range(1, 11))
    assert remote.runner("logs", "try", "-n", "1").stdout == "step 10\n"
    assert remote.runner("pull", "last", "out").returncode == 0
    assert (remote.folder / "out/artifacts/model/model.safetensors").read_bytes() == b"weights" * 1000
    assert remote.runner("wait", "try").returncode == 0
    (row,) = json.loads(remote.runner("ps", "--json").stdout)
    assert (row["run_id"], row["state"], row["attempts"]) == ("try", "succeeded", 3)


def test_what_is_alive_in_a_bucket_is_shown_and_costs_what_is_alive(remote: Bench) -> None:
    """Between two looks, what has ended is not asked for again."""
    for number in range(20):
        stored.ended(remote.store, stored.submitted(remote.store, f"over-{number}"))
    stored.running(remote.store, "alive", losses=[3.0, 2.0])
    (row,) = json.loads(remote.runner("top", "--json").stdout)["runs"]
    assert (row["run_id"], row["step"]) == ("alive", 2)
    store = Counting(remote.store)
    reader = AliveReader(store)
    reader.look()
    store.asked.clear()
    reader.look()
    assert not [key for key in store.asked if "over-" in key]
    assert len(store.asked) < 20


class Counting:
    """A store that notes what it is asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(key: Any, *arguments: Any, **options: Any) -> Any:
            self.asked.append(str(key))
            return getattr(self._store, name)(key, *arguments, **options)

        return self._store.url if name == "url" else call
