"""An object store over HTTP: S3 and what speaks it, GCS, Azure. obstore moves the bytes.

There are two clients for the same bucket. The *quick* one makes small requests and waits ten seconds for each. The
*bulk* one transfers files and gives up only if no byte arrives for a while.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError, PreconditionError

from runner.errors import UserError
from runner.storage.atomic import atomic_write
from runner.storage.names.odd_keys import OddKeys
from runner.storage.obstore_errors import timed_out, translate_error
from runner.storage.probe import probe
from runner.storage.store import NotFound, ObjectInfo, StoreUnavailable, check_key, check_prefix, check_size

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig  # types only: absent at run time

    from runner.storage.s3 import S3Lister

MIB = 1 << 20
_PART_BYTES = 8 * MIB
_SMALLEST_PART_BYTES = 5 * MIB  # S3's minimum
_PARTS_AT_ONCE = 4
_RANGES_AT_ONCE = 6
_MOST_PARTS = 9_000  # S3 allows 10,000
_CREATE_SECONDS = 20.0
_CREATE_FIRST_PAUSE_SECONDS = 0.1
_CREATE_LONGEST_PAUSE_SECONDS = 3.0
_STANDSTILL_SECONDS = 30
_LOOKS_BEFORE_PROBE = 4
"""As many as the requests of a probe: a command that creates few objects never pays for one."""
_BROKEN_LISTING = "list response body"
"""Part of obstore's message for a listing whose answer broke off."""
_ODD_KEY = "invalid path"
"""Part of obstore's message for a listing with a key that it cannot name."""
_NO_RANGES = "non-partial response"
"""Part of obstore's message for a server that answers a range request with 200 instead of 206."""

R = TypeVar("R")
Piece = bytes | obstore.Bytes

RETRIES: "RetryConfig" = {
    "max_retries": 5,
    "retry_timeout": timedelta(seconds=15),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=3), "base": 2},
}
QUICK_CLIENT: "ClientConfig" = {
    "connect_timeout": timedelta(seconds=5),
    "read_timeout": timedelta(seconds=10),
    "timeout": timedelta(seconds=30),
}
BULK_CLIENT: "ClientConfig" = {
    "connect_timeout": timedelta(seconds=5),
    "read_timeout": timedelta(seconds=_STANDSTILL_SECONDS),
    "timeout": timedelta(hours=1),
}


class RemoteStore:
    """A bucket, or a folder in one.

    Args:
        quick, bulk: clients of the same folder, opened with `QUICK_CLIENT` and `BULK_CLIENT`.
        remedy: what a user should check if the store refuses a request.
        endpoint: the server's URL; None for the cloud's own.
        conditional: True if the service documents that it honours conditional writes; None if that is unknown.
        lister: lists buckets that hold keys which obstore cannot name; None if there is none for this service.
    """

    def __init__(
        self,
        url: str,
        *,
        quick: "ObjectStore",
        bulk: "ObjectStore",
        remedy: str,
        endpoint: str | None = None,
        conditional: bool | None = None,
        lister: "S3Lister | None" = None,
    ) -> None:
        self.url = url
        self.endpoint = endpoint
        self.conditional = conditional
        """Whether the store honours conditional writes. None until a probe has shown it.

        Unless this is True, `create` looks for the key before it writes.
        """
        self._looks = 0
        self._probing = threading.Lock()
        self._accepts_conditions = True
        self._quick = quick
        self._bulk = bulk
        self._remedy = remedy
        self._narrow = False
        self._ranges = True
        self.lister = lister
        self._has_odd_keys = False
        self._odd_keys = OddKeys(url)
        self._one_at_a_time = threading.Lock()

    def get(self, key: str) -> bytes:
        """See `Store.get`."""

        def read() -> bytes:
            answer = obstore.get(self._quick, check_key(key))
            check_size(key, answer.meta["size"])
            return bytes(answer.bytes())

        return self._call(key, read)

    def put(self, key: str, data: bytes) -> None:
        """See `Store.put`."""
        self._call(key, lambda: obstore.put(self._quick, check_key(key), data, use_multipart=False))

    def create(self, key: str, data: bytes) -> bool:
        """See `Store.create`.

        The client never repeats a conditional write by itself, because the write may have succeeded and only its
        answer got lost. So read the key afterwards: it holds our bytes, another writer's, or nothing yet. It can also
        hold nothing after "it exists" (409): S3 answers that while another write is under way, which may still fail.
        """
        if not self._honours_conditions() and self._exists(key):
            return False
        give_up = time.monotonic() + _CREATE_SECONDS
        pause = _CREATE_FIRST_PAUSE_SECONDS
        lost: StoreUnavailable | None = None
        while True:
            try:
                if self.create_blindly(key, data):
                    return True
            except StoreUnavailable as error:
                lost = error
            content = self._content(key)
            if content is not None:
                return lost is not None and content == data
            if time.monotonic() + pause > give_up:
                raise lost or StoreUnavailable(f"{self.url}: another write to {key} is under way")
            time.sleep(pause)
            pause = min(pause * 2, _CREATE_LONGEST_PAUSE_SECONDS)

    def create_blindly(self, key: str, data: bytes) -> bool:
        """Write with "only if absent" and believe the answer; some stores overwrite the object and answer yes."""
        if not self._accepts_conditions:
            self.put(key, data)
            return True
        try:
            obstore.put(self._quick, check_key(key), data, mode="create", use_multipart=False)
        except (AlreadyExistsError, PreconditionError):
            return False
        except (BaseError, OSError) as error:
            if not isinstance(error, NotSupportedError) and "501 Not Implemented" not in str(error):
                raise self._translate(error, key) from error
            self._accepts_conditions = False
            self.put(key, data)
        return True

    def upload(self, key: str, path: Path, *, move: bool = False) -> None:
        """See `Store.upload`. Reads the file once, a part at a time."""
        with path.open("rb", buffering=0) as reader:
            size = path.stat().st_size
            try:
                self._upload(check_key(key), reader, size)
            except (BaseError, OSError) as error:
                if timed_out(error):
                    # The line is so slow that parallel parts starve each other: send one after another from now on.
                    self._narrow = True
                raise self._translate(error, key) from error

    def _upload(self, key: str, reader: BinaryIO, size: int) -> None:
        part_bytes = _SMALLEST_PART_BYTES if self._narrow else _PART_BYTES
        part_bytes = max(part_bytes, -(-size // _MOST_PARTS))
        turn: AbstractContextManager[object] = self._one_at_a_time if self._narrow else nullcontext()
        with turn:
            if size <= part_bytes:
                obstore.put(self._bulk, key, reader.read(), use_multipart=False)
                return
            obstore.put(
                self._bulk,
                key,
                # Read here, not by obstore from a path: one copy less, an eighth of the CPU time.
                iter(lambda: reader.read(part_bytes), b""),
                chunk_size=part_bytes,
                max_concurrency=1 if self._narrow else _PARTS_AT_ONCE,
            )

    def download(self, key: str, path: Path) -> None:
        """See `Store.download`. Fetches ranges of a large object in parallel if the store supports that."""
        size = self._call(key, lambda: obstore.head(self._quick, check_key(key))["size"])
        with atomic_write(path) as part, part.open("wb") as writer:
            pieces = self._fetch_ranges(key, size) if size > _PART_BYTES and self._ranges else self._stream(key)
            try:
                arrived = _write_pieces(pieces, writer)
            except StoreUnavailable as error:
                if _NO_RANGES not in str(error):
                    raise
                self._ranges = False
                writer.truncate(writer.seek(0))
                arrived = _write_pieces(self._stream(key), writer)
            if arrived != size:
                raise StoreUnavailable(f"{self.url}: {key} came back short")

    def download_rest(self, key: str, path: Path, size: int) -> None:
        """See `Store.download_rest`. From the beginning, if the store cannot begin elsewhere."""
        with path.open("ab") as writer:
            begin = writer.tell()
            if begin >= size:
                return
            try:
                if self._ranges and (begin or size > _PART_BYTES):
                    _write_pieces(self._fetch_ranges(key, size, begin), writer)
                    return
            except StoreUnavailable as error:
                if _NO_RANGES not in str(error):
                    raise
                self._ranges = False
            writer.truncate(0)
            _write_pieces(self._stream(key), writer)

    def _fetch_ranges(self, key: str, size: int, begin: int = 0) -> Iterator[Piece]:
        starts = range(begin, size, _PART_BYTES)
        for index in range(0, len(starts), _RANGES_AT_ONCE):
            batch = starts[index : index + _RANGES_AT_ONCE]
            lengths = [min(_PART_BYTES, size - start) for start in batch]
            get = partial(obstore.get_ranges, self._bulk, key, starts=batch, lengths=lengths, coalesce=0)
            yield from self._call(key, get)

    def _stream(self, key: str) -> Iterator[Piece]:
        stream = self._call(key, lambda: iter(obstore.get(self._bulk, key).stream(min_chunk_size=MIB)))
        while (piece := self._call(key, lambda: next(stream, None))) is not None:
            yield piece

    def objects(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `Store.objects`."""

        def collect() -> list[ObjectInfo]:
            batches = obstore.list(self._quick, check_prefix(prefix) or None, chunk_size=1000)
            return [ObjectInfo(m["path"], m["size"], m["last_modified"]) for batch in batches for m in batch]

        def collect_all(lister: "S3Lister") -> list[ObjectInfo]:
            return [ObjectInfo(*entry) for entry in lister.list(prefix, folders=False).objects]

        infos = self._odd_keys.objects(self._listing(prefix, collect, collect_all))
        return iter(sorted(infos, key=lambda info: info.key))

    def folders(self, prefix: str) -> list[str]:
        """See `Store.folders`."""

        def collect() -> list[str]:
            return list(obstore.list_with_delimiter(self._quick, check_prefix(prefix) or None)["common_prefixes"])

        def collect_all(lister: "S3Lister") -> list[str]:
            return [path.removesuffix("/") for path in lister.list(prefix, folders=True).folders]

        paths = self._listing(prefix, collect, collect_all)
        return sorted(self._odd_keys.names(path.rpartition("/")[2] for path in paths))

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`."""
        paths = [check_key(key) for key in keys]
        if not paths:
            return
        try:
            self._call(self.url, lambda: obstore.delete(self._quick, paths))
        except (NotFound, StoreUnavailable):
            # One by one: GCS and Azure report a missing object as an error, and the client repeats no bulk request.
            for path in paths:
                try:
                    self._call(path, partial(obstore.delete, self._quick, [path]))
                except NotFound:
                    continue

    def _listing(self, prefix: str, call: Callable[[], R], call_all: "Callable[[S3Lister], R]") -> R:
        """Make a listing again if its answer broke off midway; the client only repeats unanswered requests.

        Args:
            prefix: what is listed.
            call: makes the listing.
            call_all: makes it in another way, should there be a key that obstore takes for an error.
        """
        if self._has_odd_keys and self.lister is not None:
            return call_all(self.lister)
        for last in (False, False, True):
            try:
                return self._call(prefix, call)
            except StoreUnavailable as error:
                if _ODD_KEY in str(error.__cause__):
                    if self.lister is None:
                        raise self._odd_key(error) from error
                    self._has_odd_keys = True
                    return call_all(self.lister)
                if last or _BROKEN_LISTING not in str(error.__cause__):
                    raise
        raise AssertionError("unreachable")

    def _odd_key(self, error: StoreUnavailable) -> UserError:
        return UserError(
            "the store holds an object whose key runner never writes, and its listing ends there: "
            + ascii(str(error.__cause__).partition("\n")[0].partition(_ODD_KEY)[2].strip(": "))[:200],
            where=self.url,
            remedy="Delete that object, with the tools of the store's cloud.",
        )

    def _honours_conditions(self) -> bool:
        """Return whether `create` may write without a look; probe the store once it has looked a few times.

        A probe that fails leaves the question open: the look stays, and the write itself meets the same trouble.
        """
        if self.conditional is None and self._probing.acquire(blocking=False):  # other threads look meanwhile
            try:
                if self._looks < _LOOKS_BEFORE_PROBE:
                    self._looks += 1
                else:
                    self._looks = 0
                    probe(self)
            except StoreUnavailable:
                pass  # probe again after as many further looks
            except UserError:
                self.conditional = False  # the key of the probe is not permitted, say
            finally:
                self._probing.release()
        return self.conditional is True

    def _content(self, key: str) -> bytes | None:
        try:
            return self.get(key)
        except NotFound:
            return None

    def _exists(self, key: str) -> bool:
        try:
            self._call(key, lambda: obstore.head(self._quick, check_key(key)))
        except NotFound:
            return False
        return True

    def _call(self, key: str, call: Callable[[], R]) -> R:
        try:
            return call()
        except (BaseError, OSError) as error:
            raise self._translate(error, key) from error

    def _translate(self, error: Exception, key: str) -> Exception:
        return translate_error(error, url=self.url, key=key, remedy=self._remedy)


def _write_pieces(pieces: Iterator[Piece], writer: BinaryIO) -> int:
    """Write the pieces and return the number of bytes."""
    return sum(writer.write(piece) for piece in pieces)
