"""How many requests a create costs: one, once it is known that the store honours conditional writes."""

from collections import Counter
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from runner.storage.object_store import RemoteStore
from runner.storage.open import open_store
from support.servers.faults import Answer, FaultProxy, faulty
from support.servers.s3 import BUCKET, IGNORES_CREATE, S3Server

LOOKS = 4
"""The creates that look before the store is probed."""
PROBE = {"PUT": 2, "GET": 1, "DELETE": 1}


@pytest.fixture(params=["moto", "swift", "rclone"])
def lane(request: pytest.FixtureRequest) -> str:
    """A server that is atomic, one that looks before it writes, one that ignores the condition."""
    name: str = request.param
    return name


@pytest.fixture
def proxy(lane: str, use_server: Callable[[str], S3Server], monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """The counted line to the server."""
    server = use_server(lane)
    with faulty(int(server.endpoint.rpartition(":")[2])) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy


@pytest.fixture
def store(proxy: FaultProxy) -> RemoteStore:
    """A fresh folder, over the counted line."""
    store = open_store(f"s3://{BUCKET}/{uuid4().hex}")
    assert isinstance(store, RemoteStore)
    return store


def requests(proxy: FaultProxy) -> Counter[str]:
    return Counter(seen.method for seen in proxy.seen)


def test_creates_look_until_a_probe_shows_that_they_need_not(store: RemoteStore, proxy: FaultProxy, lane: str) -> None:
    """Twenty creates: 28 requests instead of 40. A store that ignores the condition keeps the look."""
    for number in range(20):
        assert store.create(f"runs/r/logs/{number:04d}", b"text")

    honoured = lane not in IGNORES_CREATE
    assert store.conditional is honoured
    assert requests(proxy) == Counter(PROBE) + Counter({"PUT": 20, "HEAD": LOOKS if honoured else 20})
    assert len(list(store.objects(""))) == 20


def test_a_command_that_creates_little_pays_for_no_probe(store: RemoteStore, proxy: FaultProxy) -> None:
    """`launch` creates three objects, `cancel` one."""
    for number in range(3):
        store.create(f"runs/r/{number}", b"{}")
    assert requests(proxy) == {"HEAD": 3, "PUT": 3}


def test_reading_pays_for_no_probe(store: RemoteStore, proxy: FaultProxy) -> None:
    """As `runner ps` does."""
    store.put("runs/r/run.json", b"{}")
    for _ in range(10):
        store.folders("runs/")
        store.get("runs/r/run.json")
    assert requests(proxy) == {"PUT": 1, "GET": 20}


def test_an_object_that_exists_is_kept_before_and_after_the_probe(store: RemoteStore) -> None:
    """With the look and without."""
    store.put("runs/r/result.json", b"first")
    for number in range(10):
        assert not store.create("runs/r/result.json", b"%d" % number)
    assert store.conditional is not None
    assert store.get("runs/r/result.json") == b"first"


@pytest.mark.parametrize("lane", ["moto"], indirect=True)
def test_a_probe_that_fails_is_made_again_later(store: RemoteStore, proxy: FaultProxy) -> None:
    """The creates beside it succeed, with a look each."""
    proxy.inject(Answer(400, "BadDigest"), times=1, method="PUT", path="/probes/")
    for number in range(2 * LOOKS + 3):
        assert store.create(f"runs/r/{number}", b"{}")
        assert store.conditional is (True if number > 2 * LOOKS else None)


@pytest.mark.parametrize("lane", ["moto"], indirect=True)
def test_where_a_probe_is_forbidden_the_look_stays(store: RemoteStore, proxy: FaultProxy) -> None:
    """A bucket policy may allow the folder of runs only; it is not asked again."""
    proxy.inject(Answer(403, "AccessDenied"), path="/probes/")
    for number in range(10):
        assert store.create(f"runs/r/{number}", b"{}")
    assert store.conditional is False
    assert len([seen for seen in proxy.seen if "/probes/" in seen.path]) == 2  # a write, and the clean-up


@pytest.mark.parametrize("url", ["s3://bucket/folder", "gs://bucket/folder", "az://container/folder"])
def test_the_clouds_themselves_are_known(url: str, no_cloud: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Amazon's S3, GCS and Azure honour conditional writes: no look and no probe."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    store = open_store(url)
    assert isinstance(store, RemoteStore)
    assert store.conditional is True
