"""Every store, a folder and each server, keeps the promises of `runner.storage.store.Store`."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from runner.errors import UserError
from runner.storage.open import open_store
from runner.storage.probe import probe
from runner.storage.store import NotFound, Store
from support.servers.s3 import ATOMIC_CREATE, BUCKET, CHECKS_SIGNATURES, SECRET_KEY, SERVERS, S3Server

MIB = 1 << 20


def test_what_is_put_is_got(store: Store) -> None:
    """Any bytes, none at all among them."""
    for data in (b"", b"text", bytes(range(256)) * 100):
        store.put("runs/r/record.json", data)
        assert store.get("runs/r/record.json") == data


def test_put_replaces(store: Store) -> None:
    """The heartbeat is written again and again; the newest is read, also when it is shorter."""
    store.put("runs/r/heartbeat.json", b"the first, and longer")
    store.put("runs/r/heartbeat.json", b"second")

    assert store.get("runs/r/heartbeat.json") == b"second"


def test_a_missing_key_is_not_found(store: Store, tmp_path: Path) -> None:
    """In an empty store, beside other keys, and for a folder's name; a download leaves nothing behind."""
    target = tmp_path / "out" / "file"
    for key in ("runs/r/run.json", "runs", "run.json"):
        with pytest.raises(NotFound):
            store.get(key)
        with pytest.raises(NotFound):
            store.download(key, target)
        store.put("runs/r/other.json", b"{}")

    assert not target.exists()
    assert not list(target.parent.glob("*"))


def test_an_empty_store_lists_nothing(store: Store) -> None:
    """No error for a prefix that nobody has written to."""
    assert list(store.objects("runs/")) == []
    assert store.folders("runs/") == []


def test_create_keeps_what_is_there(store: Store) -> None:
    """The second to create a key is told so, and the first one's bytes stay."""
    assert store.create("runs/r/attempts/0001.json", b"first") is True
    assert store.create("runs/r/attempts/0001.json", b"second") is False
    assert store.get("runs/r/attempts/0001.json") == b"first"


def test_create_does_not_replace_what_was_put(store: Store) -> None:
    """However the key came to be."""
    store.put("runs/r/result.json", b"there")

    assert store.create("runs/r/result.json", b"later") is False
    assert store.get("runs/r/result.json") == b"there"


@pytest.mark.parametrize("probed", [False, True])
def test_create_in_a_race(store: Store, lane: str, probed: bool) -> None:
    """Of eight at once, one is told that it won where writes are conditional, and its bytes are there.

    Elsewhere (Swift looks before it writes; rclone ignores the condition) several may be told so: at least one, and
    what stands there is one contender's, whole. Once probed, a store that honours the condition is not looked at first.
    """
    if probed:
        probe(store)
    for turn in range(3):
        key = f"runs/r/attempts/{turn:04d}.json"
        contenders = [f"contender {number}".encode() * 50 for number in range(8)]
        with ThreadPoolExecutor(len(contenders)) as pool:
            won = list(pool.map(lambda data, key=key: store.create(key, data), contenders))
        winners = [data for data, mine in zip(contenders, won, strict=True) if mine]

        assert len(winners) >= 1
        assert store.get(key) in winners
        if lane in (*ATOMIC_CREATE, "local"):
            assert len(winners) == 1


@pytest.mark.parametrize("size", [0, 1, 8 * MIB, 8 * MIB + 1, 40 * MIB])
def test_a_file_comes_back_as_it_went(store: Store, tmp_path: Path, size: int) -> None:
    """From nothing to several parts of a multipart upload, and the file that was sent stays."""
    sent, received = tmp_path / "sent.bin", tmp_path / "new" / "folder" / "received.bin"
    sent.write_bytes(os.urandom(min(size, MIB)) * -(-size // MIB) if size else b"")
    os.truncate(sent, size)

    store.upload("runs/r/checkpoints/c/model.safetensors", sent)
    store.download("runs/r/checkpoints/c/model.safetensors", received)

    assert received.read_bytes() == sent.read_bytes()
    assert [info.size for info in store.objects("runs/r/checkpoints/c/")] == [size]
    assert [path.name for path in received.parent.iterdir()] == ["received.bin"]


def test_upload_and_download_replace(store: Store, tmp_path: Path) -> None:
    """What was there before, in the store and on the disk, is gone."""
    path = tmp_path / "file"
    for content in (b"a longer first content", b"second"):
        path.write_bytes(content)
        store.upload("folder/file", path)
    path.write_bytes(b"on the disk, and longer than what comes")

    store.download("folder/file", path)

    assert path.read_bytes() == b"second"


def test_a_file_given_away_is_uploaded_whole(store: Store, tmp_path: Path) -> None:
    """With `move`, whether the store links the file or sends it."""
    path = tmp_path / "given-away"
    path.write_bytes(b"content" * 1000)

    store.upload("folder/file", path, move=True)

    assert store.get("folder/file") == b"content" * 1000


def test_listing_tells_keys_sizes_and_times(store: Store) -> None:
    """Every object below the prefix, however deep, in the order of keys, and none beside it."""
    before = datetime.now(UTC) - timedelta(seconds=2)
    for size, key in enumerate(["runs/a/z", "runs/a/b/c/d", "runs/ab/x", "runs/a/b/c", "runs/a.json"][::2]):
        store.put(key, b"x" * size)
    store.put("runs/a-b/y", b"")

    found = list(store.objects("runs/a/"))
    everything = [info.key for info in store.objects("")]

    assert [(info.key, info.size) for info in found] == [("runs/a/z", 0)]
    assert everything == sorted(["runs/a/z", "runs/ab/x", "runs/a.json", "runs/a-b/y"])
    for info in found:
        assert info.last_modified.tzinfo is not None
        assert before <= info.last_modified <= datetime.now(UTC) + timedelta(seconds=2)


def test_folders_are_the_names_directly_below(store: Store) -> None:
    """No objects of that level, no deeper folders, none beside the prefix; sorted."""
    for key in ("runs/b/run.json", "runs/a/x/y/z", "runs/a/x/w", "runs/loose.json", "runs/c-1/r", "other/d/e"):
        store.put(key, b"{}")

    assert store.folders("runs/") == ["a", "b", "c-1"]
    assert store.folders("runs/a/") == ["x"]
    assert store.folders("") == ["other", "runs"]
    assert store.folders("nothing/") == []


def test_listings_longer_than_a_page_are_complete(
    store: Store, lane: str, s3_server: Callable[[str], S3Server]
) -> None:
    """More objects and folders than the server gives in one answer."""
    page = 100 if lane == "local" else s3_server(lane).listing_page
    keys = [f"runs/run-{number:05d}/run.json" for number in range(page + page // 10)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put(key, b"{}"), keys))

    assert [info.key for info in store.objects("runs/")] == keys
    assert store.folders("runs/") == [key.split("/")[1] for key in keys]

    store.delete(keys)
    assert list(store.objects("")) == []


ODD_NAMES = (
    "with space.txt",
    "plus+and&=.json",
    "100%25.txt",
    "hash#question?.txt",
    "(brackets)[1]{2}.txt",
    "quote'\"~*!.txt",
    "ümläut-日本語-😀.txt",
    "colon:at@comma,semi;.txt",
    ".hidden",
    "trailing.",
    "UPPER.txt",
    "upper.txt",
    "a" * 200,
)


def test_odd_names_stay_what_they_are(store: Store, tmp_path: Path) -> None:
    """Dataset files have names like these; they are written, read, listed and deleted under exactly that name."""
    keys = [f"runs/r/inputs/{name}/{name}" for name in ODD_NAMES]
    for key in keys:
        (tmp_path / "file").write_bytes(key.encode())
        store.put(key, b"replaced")
        store.upload(key, tmp_path / "file")
        assert not store.create(key, b"too late")

    for key in keys:
        store.download(key, tmp_path / "back")
        assert store.get(key) == (tmp_path / "back").read_bytes() == key.encode()
    assert [info.key for info in store.objects("runs/r/inputs/")] == sorted(keys)
    assert store.folders("runs/r/inputs/") == sorted(ODD_NAMES)
    for name, key in zip(ODD_NAMES, keys, strict=True):
        assert [info.key for info in store.objects(f"runs/r/inputs/{name}/")] == [key]
    store.delete(keys)
    assert list(store.objects("runs/")) == []


def test_delete_takes_the_named_ones_only(store: Store) -> None:
    """A missing key is no error, nor is nothing at all; neighbours stay."""
    for key in ("c/1/a", "c/1/b", "c/10/a", "c/2"):
        store.put(key, b"x")

    store.delete(["c/1/a", "c/1/never-there", "c/1/b"])
    store.delete(["c/1/a"])
    store.delete([])

    assert [info.key for info in store.objects("c/")] == ["c/10/a", "c/2"]
    assert store.folders("c/") == ["10"]
    with pytest.raises(NotFound):
        store.get("c/1/a")


def test_a_deleted_key_can_be_created_again(store: Store) -> None:
    """Nothing remembers it."""
    assert store.create("a/b", b"1")
    store.delete(["a/b"])

    assert store.create("a/b", b"2")
    assert store.get("a/b") == b"2"


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/../b", "./a", "a\x00b", "a\nb", "a\\b"])
def test_a_key_that_leaves_the_store_is_our_bug(store: Store, key: str, tmp_path: Path) -> None:
    """No call takes it, and nothing is written."""
    (tmp_path / "file").touch()
    calls: list[Callable[[], object]] = [
        lambda: store.get(key),
        lambda: store.put(key, b""),
        lambda: store.create(key, b""),
        lambda: store.upload(key, tmp_path / "file"),
        lambda: store.download(key, tmp_path / "out"),
        lambda: store.delete([key]),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="not a key"):
            call()

    assert list(store.objects("")) == []


def test_the_url_opens_the_same_store_again(store: Store, store_url: str) -> None:
    """From another process, with the same environment; it holds no secret."""
    store.put("a/b", b"here")

    assert open_store(store.url).get("a/b") == b"here"
    assert open_store(store_url).url == store.url
    assert SECRET_KEY not in store.url + repr(store)


def test_two_stores_in_one_bucket_are_apart(store: Store, store_url: str) -> None:
    """A store is a folder; its neighbours, even one whose name begins the same, are out of its sight."""
    neighbour = open_store(f"{store_url}-2")
    store.put("a/b", b"1")
    neighbour.put("c/d", b"2")

    assert [info.key for info in store.objects("")] == ["a/b"]
    assert store.folders("") == ["a"]
    with pytest.raises(NotFound):
        store.get("c/d")


def test_many_threads_share_a_store(store: Store, tmp_path: Path) -> None:
    """Uploads, listings and records at once, as a run in training does them."""

    def work(number: int) -> bytes:
        path = tmp_path / f"file-{number}"
        path.write_bytes(bytes([number]) * 10_000)
        store.upload(f"c/{number:02d}/data", path)
        assert store.create(f"c/{number:02d}/claim", b"{}")
        assert f"{number:02d}" in store.folders("c/")
        store.download(f"c/{number:02d}/data", path)
        return path.read_bytes()

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, range(16)))

    assert results == [bytes([number]) * 10_000 for number in range(16)]
    assert len(list(store.objects("c/"))) == 32


@pytest.mark.parametrize("name", CHECKS_SIGNATURES)
@pytest.mark.parametrize("variable", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
def test_wrong_credentials_are_the_callers_mistake(
    name: str, variable: str, use_server: Callable[[str], S3Server], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every call says so, names the remedy, and shows no secret."""
    use_server(name)
    monkeypatch.setenv(variable, "wrong:anything")
    (tmp_path / "file").write_bytes(b"data")
    store = open_store(f"s3://{BUCKET}/{uuid4().hex}")

    def listed() -> None:
        list(store.objects(""))

    calls: list[Callable[[], object]] = [
        lambda: store.get("a"),
        lambda: store.put("a", b""),
        lambda: store.create("a", b""),
        lambda: store.upload("a", tmp_path / "file"),
        lambda: store.download("a", tmp_path / "out"),
        lambda: store.folders(""),
        listed,
    ]
    for call in calls:
        with pytest.raises(UserError, match="refuses us") as caught:
            call()
        assert "AWS_SECRET_ACCESS_KEY" in str(caught.value)
        for secret in (SECRET_KEY, "wrong:anything"):
            assert secret not in str(caught.value)


@pytest.mark.parametrize("name", SERVERS)
def test_a_missing_bucket_is_the_callers_mistake(
    name: str, use_server: Callable[[str], S3Server], tmp_path: Path
) -> None:
    """It is not taken for an empty store, nor a missing key."""
    use_server(name)
    store = open_store("s3://no-such-bucket/folder")
    (tmp_path / "file").write_bytes(b"data")

    def listed() -> None:
        list(store.objects("runs/"))

    calls: list[Callable[[], object]] = [
        lambda: store.get("a"),
        lambda: store.put("a", b""),
        lambda: store.upload("a", tmp_path / "file"),
        lambda: store.folders(""),
        listed,
    ]
    for call in calls:
        with pytest.raises(UserError, match="bucket does not exist"):
            call()


def test_an_unknown_authority_is_not_trusted(
    use_server: Callable[[str], S3Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without AWS_CA_BUNDLE the certificate is refused, and the message says which variable to set."""
    use_server("ministack-tls")
    monkeypatch.delenv("AWS_CA_BUNDLE")

    with pytest.raises(UserError, match="AWS_CA_BUNDLE"):
        open_store(f"s3://{BUCKET}/folder").put("a", b"")
