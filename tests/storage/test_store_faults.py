"""Whatever the line to the store does, nothing torn is ever seen, and what failed can be done again.

A proxy between client and server injects the faults (`support.servers.faults`). The server itself is a real one, which
the tests read directly to see what it holds. The client's patience is cut to fractions of a second.
"""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from runner.errors import UserError
from runner.runs.attempts import claim_attempt, is_superseded, write_restored
from runner.runs.chunks import ChunkWriter
from runner.runs.logs import read_log
from runner.storage import object_store
from runner.storage.commit import commit, fetch, read_manifest, verify
from runner.storage.manifest import MANIFEST, Damaged
from runner.storage.open import open_store
from runner.storage.retry import after, retrying
from runner.storage.store import NotFound, Store, StoreUnavailable
from support.servers.faults import (
    Answer,
    CutAnswer,
    CutUpload,
    Fault,
    FaultProxy,
    FlipBit,
    Hang,
    LoseAnswer,
    Refuse,
    Slow,
    faulty,
)
from support.servers.s3 import BUCKET, SECRET_KEY, S3Server
from support.thorough import cases

MIB = 1 << 20
FOLDER = "runs/r/checkpoints/sft-000010-0001-aaaa/"
LARGE = 9 * MIB  # two parts

TRANSIENT = {
    "refused": Refuse(),
    "busy": Answer(503, "SlowDown"),
    "broken": Answer(500, "InternalError"),
    "answer lost": LoseAnswer(),
    "answer cut": CutAnswer(0),
}
PERMANENT = TRANSIENT | {"upload cut": CutUpload(1), "hangs": Hang()}


@pytest.fixture(scope="module")
def server(s3_server: Callable[[str], S3Server]) -> S3Server:
    """A server with conditional writes and multipart uploads."""
    return s3_server("ministack")


@pytest.fixture
def proxy(server: S3Server) -> Iterator[FaultProxy]:
    """The line to it."""
    with faulty(server.port, seed=7) as proxy:
        yield proxy


@pytest.fixture
def stores(
    proxy: FaultProxy, use_server: Callable[[str], S3Server], monkeypatch: pytest.MonkeyPatch, impatient: None
) -> tuple[Store, Store]:
    """The same store twice: over the faulty line, and directly."""
    use_server("ministack")
    url = f"s3://{BUCKET}/{uuid4().hex}"
    direct = open_store(url)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    return open_store(url), direct


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client gives up within two seconds rather than half a minute; how it goes about it stays the same."""
    settings: list[tuple[Any, str, Any]] = [
        (object_store.RETRIES, "max_retries", 2),
        (object_store.RETRIES, "retry_timeout", timedelta(seconds=0.5)),
        (object_store.RETRIES["backoff"], "init_backoff", timedelta(milliseconds=5)),
        (object_store.RETRIES["backoff"], "max_backoff", timedelta(milliseconds=20)),
        (object_store.QUICK_CLIENT, "read_timeout", timedelta(seconds=0.4)),
        (object_store.QUICK_CLIENT, "timeout", timedelta(seconds=1)),
        (object_store.BULK_CLIENT, "read_timeout", timedelta(seconds=0.4)),
    ]
    for mapping, name, value in settings:
        monkeypatch.setitem(mapping, name, value)
    monkeypatch.setattr(object_store, "_CREATE_SECONDS", 0.5)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A checkpoint of three files, one of them in several parts."""
    folder = tmp_path / "files"
    folder.mkdir()
    contents = {"model.safetensors": bytes(range(256)) * (LARGE // 256), "optimizer.pt": b"o" * 1000, "empty": b""}
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in contents}


def is_visible(store: Store) -> bool:
    """Whether the checkpoint is there for a reader; if it is, it is whole."""
    try:
        read_manifest(store, FOLDER)
    except NotFound:
        return False
    verify(store, FOLDER)
    return True


def operations(store: Store, folder: Path) -> dict[str, tuple[Callable[[], object], object]]:
    """Each call of the protocol with what it must return, in a store that holds what `filled` put there."""
    (folder / "file").write_bytes(b"n" * 100_000)
    new = f"new/{uuid4().hex}"

    def downloaded(key: str) -> int:
        store.download(key, folder / "f" / "back")
        return (folder / "f" / "back").stat().st_size

    return {
        "get": (lambda: store.get("f/there"), b"0123456789"),
        "put": (lambda: store.put(new, b"x"), None),
        "create": (lambda: store.create(new, b"x"), True),
        "create, there": (lambda: store.create("f/there", b"x"), False),
        "upload": (lambda: store.upload(new, folder / "file"), None),
        "download": (lambda: downloaded("f/there"), 10),
        "download, large": (lambda: downloaded("f/large"), LARGE),
        "objects": (lambda: [info.size for info in store.objects("f/")], [LARGE, 10]),
        "folders": (lambda: store.folders("tree/"), ["branch"]),
        "delete": (lambda: store.delete(["f/gone"]), None),
    }


OPERATIONS = (
    "get",
    "put",
    "create",
    "create, there",
    "upload",
    "download",
    "download, large",
    "objects",
    "folders",
    "delete",
)


@pytest.fixture(scope="module")
def full_url(server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a store with a few objects in it."""
    url = f"s3://{BUCKET}/{uuid4().hex}"
    large = tmp_path_factory.mktemp("large") / "file"
    large.write_bytes(bytes(range(256)) * (LARGE // 256))
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in server.environment().items():
            patch.setenv(variable, value)
        store = open_store(url)
        store.put("f/there", b"0123456789")
        store.upload("f/large", large)
        store.put("tree/branch/leaf", b"")
    return url


@pytest.fixture
def filled(
    full_url: str,
    proxy: FaultProxy,
    use_server: Callable[[str], S3Server],
    monkeypatch: pytest.MonkeyPatch,
    impatient: None,
    tmp_path: Path,
) -> Store:
    """That store, over the faulty line."""
    use_server("ministack")
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    (tmp_path / "f").mkdir()
    return open_store(full_url)


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_short_trouble_is_not_noticed(
    filled: Store, proxy: FaultProxy, tmp_path: Path, name: str, fault: Fault
) -> None:
    """The first request fails; the call does what it should, and says so."""
    call, expected = operations(filled, tmp_path)[name]
    proxy.inject(fault, times=1)

    assert call() == expected
    assert proxy.seen[0].fault == fault


@pytest.mark.parametrize(
    ("name", "kind"),
    cases(
        product(OPERATIONS, PERMANENT),
        # Each operation meets one trouble or more, and each trouble one operation or more.
        quick=lambda name, kind: (
            (OPERATIONS.index(name) - list(PERMANENT).index(kind)) % min(len(OPERATIONS), len(PERMANENT)) == 0
        ),
    ),
)
def test_a_lasting_trouble_is_unavailable_soon(
    filled: Store, proxy: FaultProxy, tmp_path: Path, name: str, kind: str
) -> None:
    """`StoreUnavailable` and nothing else, within bounds, no file half written, no secret in the text."""
    call, expected = operations(filled, tmp_path)[name]
    fault = PERMANENT[kind]
    harmless = isinstance(fault, CutUpload | CutAnswer)  # to requests and answers that have no body
    proxy.inject(fault)
    began = time.monotonic()

    failure, result = outcome(call)

    assert time.monotonic() - began < 60
    if failure is None:
        assert harmless
        assert result == expected
    else:
        assert "\n" not in str(failure)
        assert SECRET_KEY not in str(failure)
        assert list((tmp_path / "f").iterdir()) == []
    proxy.clear()
    assert call() in (expected, False)  # a create whose answer got lost has gone through


def outcome(call: Callable[[], object]) -> tuple[StoreUnavailable | None, object]:
    """What the call raised, or returned."""
    try:
        return None, call()
    except StoreUnavailable as error:
        return error, None


@pytest.mark.parametrize(("key", "after_bytes"), [("f/there", 0), ("f/large", 5)], ids=["small", "large"])
@pytest.mark.parametrize("reset", [True, False], ids=["reset", "orderly"])
def test_a_truncated_download_never_takes_the_files_place(
    filled: Store, proxy: FaultProxy, tmp_path: Path, key: str, after_bytes: int, reset: bool
) -> None:
    """While answers end early the old file stays; once they do not, the whole new one is there.

    The client goes on where an answer ended, so that only an answer that brings hardly anything is a failure.
    """
    target = tmp_path / "f" / "target"
    target.write_bytes(b"old")
    proxy.inject(CutAnswer(after_bytes, reset=reset), method="GET")

    with pytest.raises(StoreUnavailable):
        filled.download(key, target)
    assert {path.name: path.read_bytes() for path in target.parent.iterdir()} == {"target": b"old"}

    proxy.clear()
    proxy.inject(CutAnswer(5, reset=reset), method="GET", times=1)
    filled.download(key, target)
    assert target.read_bytes() == filled.get(key)


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "orderly"])
def test_a_truncated_listing_is_no_shorter_listing(stores: tuple[Store, Store], proxy: FaultProxy, reset: bool) -> None:
    """Nobody concludes from it that something is not there."""
    store, direct = stores
    for number in range(20):
        direct.put(f"runs/r{number:02d}/run.json", b"{}")
    proxy.inject(CutAnswer(1500, reset=reset), method="GET")

    with pytest.raises(StoreUnavailable):
        list(store.objects("runs/"))
    with pytest.raises(StoreUnavailable):
        store.folders("runs/")


def test_a_flipped_bit_is_never_taken_for_the_file(
    stores: tuple[Store, Store], proxy: FaultProxy, files: dict[str, Path], tmp_path: Path
) -> None:
    """Fetching finds it by the checksum; what is in the store is as good as before."""
    store, direct = stores
    commit(direct, FOLDER, files, {})
    proxy.inject(FlipBit(at_byte=500), method="GET", path="optimizer")

    with pytest.raises(Damaged):
        fetch(store, FOLDER, tmp_path / "back")
    assert not (tmp_path / "back").exists()

    proxy.clear()
    proxy.inject(FlipBit(at_byte=500), times=1, method="GET", path="optimizer")
    fetch(store, FOLDER, tmp_path / "back")  # once is no reason to give a checkpoint up
    assert (tmp_path / "back" / "optimizer.pt").read_bytes() == files["optimizer.pt"].read_bytes()


@pytest.mark.parametrize("fault", [Refuse(), LoseAnswer(), Answer(503)], ids=["refused", "answers lost", "busy"])
def test_a_commit_cut_off_anywhere_leaves_nothing_torn(
    stores: tuple[Store, Store], proxy: FaultProxy, files: dict[str, Path], fault: Fault
) -> None:
    """After every single request in turn the line goes away.

    The checkpoint is then invisible, or, if only the last answer is missing, whole. When the line is back the same
    commit goes through.
    """
    store, direct = stores
    commit(store, FOLDER, files, {"step": 10})
    requests = len(proxy.seen)
    assert requests >= 8

    for good in range(requests):
        direct.delete([info.key for info in direct.objects("")])
        proxy.clear()
        proxy.inject(fault, skip=good)
        try:
            commit(store, FOLDER, files, {"step": 10})
        except StoreUnavailable:
            assert not is_visible(direct) or isinstance(fault, LoseAnswer)
        else:
            assert is_visible(direct)
        proxy.clear()

        manifest = commit(store, FOLDER, files, {"step": 10})
        assert verify(direct, FOLDER) == manifest


@pytest.mark.parametrize("seed", range(3))
def test_a_commit_gets_through_a_bad_line(
    stores: tuple[Store, Store], proxy: FaultProxy, files: dict[str, Path], tmp_path: Path, seed: int
) -> None:
    """A third of all requests fail, each in its own way; with `retrying` everything arrives and comes back."""
    store, direct = stores
    patient = partial(retrying, until=after(30), first_seconds=0.02, longest_seconds=0.1)
    for fault in (Refuse(), LoseAnswer(), Answer(500), Answer(503), CutUpload(100_000), CutAnswer(100)):
        proxy.inject(fault, probability=0.06)
    prefix = f"runs/r/checkpoints/sft-{seed:06d}-0001-aaaa/"

    manifest = commit(store, prefix, files, {"seed": seed}, call=patient)
    fetch(store, prefix, tmp_path / "back", call=patient)

    assert verify(direct, prefix) == manifest
    assert {name: (tmp_path / "back" / name).read_bytes() for name in files} == {
        name: path.read_bytes() for name, path in files.items()
    }
    assert any(seen.fault for seen in proxy.seen)


def test_retrying_goes_on_until_the_store_is_back(
    stores: tuple[Store, Store], proxy: FaultProxy, files: dict[str, Path]
) -> None:
    """The store is away for a while; the commit that was begun meanwhile goes through, and each failure was told."""
    store, direct = stores
    told: list[str] = []
    proxy.inject(Refuse())
    back = threading.Timer(1.5, proxy.clear)
    back.start()

    call = partial(
        retrying,
        until=after(30),
        on_retry=lambda error, seconds: told.append(str(error)),
        first_seconds=0.05,
        longest_seconds=0.2,
    )
    commit(store, FOLDER, files, {}, call=call)
    back.join()

    assert is_visible(direct)
    assert told


def test_retrying_stops_when_told_to(stores: tuple[Store, Store], proxy: FaultProxy) -> None:
    """The last failure is raised, soon after."""
    proxy.inject(Refuse())
    began = time.monotonic()

    with pytest.raises(StoreUnavailable):
        retrying(lambda: stores[0].get("a"), until=after(0.5), first_seconds=0.1)

    assert time.monotonic() - began < 120


def test_a_refusal_is_not_repeated(stores: tuple[Store, Store], proxy: FaultProxy) -> None:
    """403 is the caller's mistake at once; asking again would not help."""
    proxy.inject(Answer(403, "AccessDenied"))

    with pytest.raises(UserError, match="AccessDenied"):
        stores[0].get("a")

    assert len(proxy.seen) == 1


@pytest.mark.parametrize("conditional", [False, True])
def test_a_create_whose_answer_is_lost_is_still_ours(
    stores: tuple[Store, Store], proxy: FaultProxy, conditional: bool
) -> None:
    """It went through and the client did not hear of it: true all the same, and the bytes are ours."""
    store, direct = stores
    store.conditional = conditional  # type: ignore[attr-defined]
    proxy.inject(LoseAnswer(), times=1, method="PUT")

    assert store.create("a/claim", b"mine") is True
    assert direct.get("a/claim") == b"mine"


def test_a_conflict_with_nobody_is_tried_again(stores: tuple[Store, Store], proxy: FaultProxy) -> None:
    """S3 answers 409 when another write to the key is under way, which may come to nothing: not "it exists"."""
    store, direct = stores
    proxy.inject(Answer(409, "ConditionalRequestConflict"), times=1, method="PUT")

    assert store.create("a/claim", b"mine") is True
    assert direct.get("a/claim") == b"mine"


def test_a_busy_store_is_not_hammered_by_create(stores: tuple[Store, Store], proxy: FaultProxy) -> None:
    """While it answers 503 the client pauses between its attempts."""
    proxy.inject(Answer(503), method="PUT")

    with pytest.raises(StoreUnavailable):
        stores[0].create("a/claim", b"mine")

    assert len([seen for seen in proxy.seen if seen.method == "PUT"]) <= 12  # 4 attempts, and the client's repeats


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)
def test_a_claim_over_a_bad_line_is_one_claim(stores: tuple[Store, Store], proxy: FaultProxy, fault: Fault) -> None:
    """Whatever got lost, the attempt holds the number it believes it holds, and begins."""
    store, direct = stores
    proxy.inject(fault, times=1, method="PUT")
    proxy.inject(fault, times=1, method="GET")

    claim = claim_attempt(store, "r", {})
    write_restored(store, claim, None)

    assert claim.number == 1
    assert not is_superseded(direct, claim)


def test_log_chunks_survive_lost_answers(stores: tuple[Store, Store], proxy: FaultProxy) -> None:
    """Flushing again after a failure neither loses nor repeats a line."""
    store, direct = stores
    claim = claim_attempt(direct, "r", {})
    write_restored(direct, claim, None)
    writer = ChunkWriter(store, "r", "logs", claim.token)
    proxy.inject(LoseAnswer(), probability=0.3)
    proxy.inject(Refuse(), probability=0.3)

    for line in range(20):
        writer.append(f"line {line}\n")
        retrying(writer.flush, until=after(20), first_seconds=0.01, longest_seconds=0.05)

    assert read_log(direct, "r")[0] == "".join(f"line {line}\n" for line in range(20))


def test_a_slow_line_is_no_trouble(
    stores: tuple[Store, Store], proxy: FaultProxy, files: dict[str, Path], tmp_path: Path
) -> None:
    """Bytes that keep coming are waited for, though the whole takes longer than a standstill may."""
    store, direct = stores
    direct.upload("f/large", files["model.safetensors"])
    proxy.inject(Slow(latency_seconds=0.2, bytes_per_second=8 * MIB))
    began = time.monotonic()

    store.download("f/large", tmp_path / "large")

    assert (tmp_path / "large").read_bytes() == files["model.safetensors"].read_bytes()
    assert time.monotonic() - began > 0.5
    assert not [seen for seen in proxy.seen if MANIFEST in seen.path]


def test_a_line_too_slow_for_parts_side_by_side_gets_them_one_by_one(
    filled: Store, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Three parts at once starve each other until all of them time out; with patience the file gets through."""
    monkeypatch.setitem(object_store.BULK_CLIENT, "read_timeout", timedelta(seconds=2))
    store = open_store(filled.url)
    path = tmp_path / "file"
    path.write_bytes(bytes(24 * MIB))
    # A part of 8 MiB alone takes 1.3 seconds, three at once take four.
    proxy.inject(Slow(bytes_per_second=6 * MIB), method="PUT")

    with pytest.raises(StoreUnavailable, match="no answer in time"):
        store.upload("new/slow", path)
    retrying(lambda: store.upload("new/slow", path), until=after(120))

    assert [info.size for info in store.objects("new/") if info.key == "new/slow"] == [24 * MIB]


def test_nobody_listening_is_unavailable(
    stores: tuple[Store, Store], proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is down, rather than in trouble."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    store = open_store(f"s3://{BUCKET}/folder")

    with pytest.raises(StoreUnavailable, match="connection refused"):
        store.get("a")
    with pytest.raises(StoreUnavailable):
        store.create("a", b"")
