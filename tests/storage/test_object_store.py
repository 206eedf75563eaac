"""The client of object stores: what it makes of the answers. Real servers are in `test_store_contract`."""

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
from obstore.exceptions import GenericError, PermissionDeniedError

from runner.errors import UserError
from runner.storage.object_store import RemoteStore
from runner.storage.obstore_errors import summary, timed_out, translate_error
from runner.storage.open import open_store
from runner.storage.probe import probe
from runner.storage.store import NotFound, StoreFull, StoreUnavailable
from support.servers.s3 import BUCKET, S3Server

MIB = 1 << 20


@pytest.fixture
def moto(use_server: Callable[[str], S3Server]) -> RemoteStore:
    """A fresh folder on moto."""
    use_server("moto")
    store = open_store(f"s3://{BUCKET}/{uuid4().hex}")
    assert isinstance(store, RemoteStore)
    return store


def test_boto3_sees_the_same_objects(moto: RemoteStore, use_server: Callable[[str], S3Server]) -> None:
    """Under the store's folder, with the bytes that were written."""
    moto.put("runs/r/run.json", b"{}")
    client = boto3.client("s3", endpoint_url=use_server("moto").endpoint)
    key = f"{moto.url.rpartition('/')[2]}/runs/r/run.json"
    assert client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"{}"


@pytest.mark.parametrize("size", [0, 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 25 * MIB + 7])
def test_files_of_any_size_come_back(moto: RemoteStore, tmp_path: Path, size: int) -> None:
    """Around the size at which a file is sent in parts, too."""
    source = tmp_path / "source"
    source.write_bytes(bytes(range(251)) * (size // 251) + b"x" * (size % 251))
    moto.upload("runs/r/file", source)
    moto.download("runs/r/file", tmp_path / "deep/down/target")
    assert (tmp_path / "deep/down/target").read_bytes() == source.read_bytes()


def test_a_slow_line_gets_one_part_at_a_time(moto: RemoteStore, tmp_path: Path) -> None:
    """After a transfer that timed out, parts no longer starve each other; what arrives is the same."""
    source = tmp_path / "source"
    source.write_bytes(b"0123456789abcdef" * MIB)
    moto._narrow = True
    moto.upload("runs/r/file", source)
    moto.download("runs/r/file", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == source.read_bytes()


def test_a_probe_spares_the_look_before_each_write(moto: RemoteStore) -> None:
    """moto honours conditional writes, so that one request suffices from then on; nothing of the probe stays."""
    assert moto.conditional is None
    assert probe(moto).honours_conditional_writes
    assert moto.conditional is True
    assert list(moto.objects("")) == []
    assert moto.create("runs/r/a", b"1")
    assert not moto.create("runs/r/a", b"2")


class _LostAnswer(RemoteStore):
    """The first conditional write arrives, and its answer does not."""

    lost = False

    def create_blindly(self, key: str, data: bytes) -> bool:
        created = super().create_blindly(key, data)
        if not self.lost:
            self.lost = True
            raise StoreUnavailable("the connection was reset")
        return created


def test_a_lost_answer_is_looked_up(moto: RemoteStore) -> None:
    """A claim whose answer was lost is still ours; one that somebody else made meanwhile is not."""
    moto.__class__ = _LostAnswer
    assert moto.create("runs/r/a", b"ours")
    moto.lost = False
    moto.conditional = True
    assert not moto.create("runs/r/a", b"another's")
    assert moto.get("runs/r/a") == b"ours"


def test_a_missing_bucket_is_the_callers_mistake(moto: RemoteStore, tmp_path: Path) -> None:
    """For every request, and it names the bucket's URL."""
    store = open_store("s3://no-such-bucket/folder")
    (tmp_path / "file").write_bytes(b"1")
    for call in (
        lambda: store.get("a"),
        lambda: store.put("a", b""),
        lambda: store.create("a", b""),
        lambda: store.upload("a", tmp_path / "file"),
        lambda: store.objects("runs/"),
        lambda: store.folders("runs/"),
        lambda: probe(store),
    ):
        with pytest.raises(UserError, match="s3://no-such-bucket/folder: the bucket does not exist"):
            call()


def test_nobody_there_is_unavailable(no_cloud: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Within seconds, with the reason."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret")
    store = open_store("s3://bucket/folder")
    with pytest.raises(StoreUnavailable, match="connection refused"):
        store.get("a")


def _answered(status: str, body: str = "") -> str:
    return (
        f"Generic S3 error: Error performing PUT http://h/b/k in 1ms - Server returned non-2xx status code: {status}: "
        f"{body}\n\nDebug source:\nGeneric {{ secret: 'AKIDEXAMPLE' }}"
    )


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (GenericError(_answered("503 Service Unavailable", "SlowDown")), StoreUnavailable, "HTTP 503"),
        (GenericError(_answered("500 x", "<Code>InternalError</Code>")), StoreUnavailable, "HTTP 500 InternalError"),
        (PermissionDeniedError(_answered("403 Forbidden", "<Code>AccessDenied</Code>")), UserError, "AccessDenied"),
        (GenericError(_answered("403 Forbidden", "<Code>AccessDenied</Code>")), UserError, "look there"),
        (GenericError(_answered("401 Unauthorized")), UserError, "look there"),
        (GenericError(_answered("507 Insufficient Storage")), StoreFull, "no room left"),
        (GenericError("Received redirect: an incorrectly configured region"), UserError, "AWS_REGION"),
        (GenericError("HTTP error\n\nDebug: invalid peer certificate: UnknownIssuer"), UserError, "AWS_CA_BUNDLE"),
        (GenericError("HTTP error\n\nDebug: Connection refused"), StoreUnavailable, "connection refused"),
        (FileNotFoundError(_answered("404 Not Found", "<Code>NoSuchKey</Code>")), NotFound, "the-key"),
        (FileNotFoundError(_answered("404 Not Found", "<Code>NoSuchBucket</Code>")), UserError, "bucket"),
    ],
)
def test_answers_in_our_words(error: Exception, kind: type[Exception], said: str) -> None:
    """Each failure is one of five kinds, and its message one line without the client's inner life."""
    found = translate_error(error, url="s3://bucket", key="the-key", remedy="look there")
    assert type(found) is kind
    assert said in str(found)
    assert "Debug" not in str(found)
    assert "AKIDEXAMPLE" not in str(found)


def test_a_standstill_is_told_from_a_refusal() -> None:
    """Only the first makes the uploads narrower."""
    assert timed_out(GenericError("HTTP error\n\nDebug: kind: Timeout"))
    assert not timed_out(GenericError(_answered("503 Service Unavailable")))
    assert summary("x\n\nkind: Timeout") == "no answer in time"
