"""One odd key in a store, which anybody who can write to it can put there, hides nothing else."""

import logging
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import boto3
import pytest

from runner.errors import UserError
from runner.storage.local import LocalStore
from runner.storage.object_store import RemoteStore
from runner.storage.open import open_store
from runner.storage.store import StoreUnavailable
from support.bench import Bench
from support.servers.s3 import BUCKET, S3Server

ODD = ["/x/run.json", "../x/run.json", "./x/run.json", "a\x01b/run.json", "\x1b[2J/run.json", "a\\b/run.json", "r//x"]
"""Below ``runs/``."""


@pytest.fixture
def store(use_server: Callable[[str], S3Server]) -> RemoteStore:
    use_server("moto")
    store = open_store(f"s3://{BUCKET}/{uuid4().hex}")
    assert isinstance(store, RemoteStore)
    store.put("runs/r/run.json", b"{}")
    store.put("runs/r/sub/x", b"1")
    return store


def put_odd(store: RemoteStore, key: str) -> None:
    boto3.client("s3").put_object(Bucket=BUCKET, Key=f"{store.url.rpartition('/')[2]}/{key}", Body=b"odd")


@pytest.mark.parametrize("key", ODD)
def test_the_other_keys_of_a_bucket_are_listed_and_the_odd_one_is_said_once(
    store: RemoteStore, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    put_odd(store, f"runs/{key}")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert [(info.key, info.size) for info in store.objects("runs/")] == [
                ("runs/r/run.json", 2),
                ("runs/r/sub/x", 1),
            ]
            assert store.folders("runs/") == ["r"]
            assert store.folders("runs/r/") == ["sub"]
    [record] = caplog.records
    assert "are passed over, such as" in record.getMessage()
    assert record.getMessage().isprintable()


def test_a_listing_that_goes_round_obstore_has_the_same_times_and_all_pages(store: RemoteStore) -> None:
    for number in range(250):  # three pages of moto's
        store.put(f"runs/many/{number:03d}", b"")
    before = list(store.objects("runs/"))
    put_odd(store, "runs//x")
    assert list(store.objects("runs/")) == before


def test_a_service_that_cannot_be_listed_in_another_way_is_no_store_that_is_away(store: RemoteStore) -> None:
    """GCS and Azure."""
    put_odd(store, "runs//x")
    store.lister = None
    with pytest.raises(UserError, match=r"holds an object whose key runner never writes") as caught:
        store.objects("runs/")
    assert "Delete that object" in str(caught.value)


def test_a_bucket_that_is_away_is_away_here_too(store: RemoteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put_odd(store, "runs//x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    away = open_store(store.url)
    assert isinstance(away, RemoteStore)
    away._has_odd_keys = True
    with pytest.raises(StoreUnavailable):
        away.objects("runs/")


@pytest.mark.parametrize("name", ["a\x1b[2Jb", "a\\b", "C:", "\x07"])
def test_the_other_files_of_a_folder_are_listed(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    store = LocalStore(tmp_path / "store")
    store.put("runs/r/run.json", b"{}")
    (store.root / "runs" / name).mkdir()
    (store.root / "runs" / name / "run.json").write_bytes(b"{}")
    with caplog.at_level(logging.WARNING):
        assert store.folders("runs/") == ["r"]
        keys = [info.key for info in store.objects("runs/")]
    assert keys[-1] == "runs/r/run.json"
    assert all(key.isprintable() and "\\" not in key for key in keys)
    assert caplog.records


def test_ps_lists_the_other_runs_and_says_what_it_passes_over(
    bench: Bench, use_server: Callable[[str], S3Server]
) -> None:
    server = use_server("moto")
    bench.environment |= server.environment() | {"RUNNER_STORE": f"s3://{BUCKET}/{bench.folder.name}"}
    bench.store = open_store(bench.environment["RUNNER_STORE"])
    assert isinstance(bench.store, RemoteStore)
    bench.submit()
    put_odd(bench.store, "runs//x")
    put_odd(bench.store, "runs/\x1b]0;title\x07/run.json")
    done = bench.runner("ps")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].startswith("run ")
    assert "passed over, such as" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert bench.runner("logs", "run").returncode == 0


def test_an_object_that_is_too_large_is_not_read_into_memory(
    store: RemoteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = tmp_path / "large"
    large.write_bytes(b"x" * 1000)
    store.upload("runs/r/large", large)
    monkeypatch.setattr("runner.storage.store.MOST_BYTES", 999)
    with pytest.raises(Exception, match="1,000 bytes, and 999 at most are read"):
        store.get("runs/r/large")
    store.download("runs/r/large", tmp_path / "copy")
