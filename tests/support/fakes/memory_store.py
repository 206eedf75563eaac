"""A store in memory: fast, inspectable, and as obedient or disobedient as a test wants it."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.storage.store import NotFound, ObjectInfo, check_key, check_prefix

Step = Callable[[str], Exception | None]
"""Told of each request (``create runs/r/run.json``) before it is carried out. May block, raise instead of it, or return
what is to be raised after it."""


class MemoryStore:
    """The protocol `Store` over a dictionary.

    Args:
        conditional: whether `create` is atomic; otherwise it looks and then writes, as two requests.
        step: see `Step`.
        data: share the objects of another store.
    """

    url = "memory://"

    def __init__(
        self, *, conditional: bool = True, step: Step | None = None, data: dict[str, bytes] | None = None
    ) -> None:
        self.data: dict[str, bytes] = {} if data is None else data
        self.conditional = conditional
        self._step = step or (lambda request: None)
        self._lock = threading.Lock()

    def seen_by(self, step: Step) -> "MemoryStore":
        """The same objects, through another pair of eyes."""
        return MemoryStore(conditional=self.conditional, step=step, data=self.data)

    def get(self, key: str) -> bytes:
        with self._request(f"get {key}"):
            try:
                return self.data[check_key(key)]
            except KeyError:
                raise NotFound(key) from None

    def put(self, key: str, data: bytes) -> None:
        with self._request(f"put {key}"):
            self.data[check_key(key)] = data

    def create(self, key: str, data: bytes) -> bool:
        if self.conditional:
            with self._request(f"create {key}"), self._lock:
                return self.data.setdefault(check_key(key), data) is data
        with self._request(f"look {key}"):
            if key in self.data:
                return False
        self.put(key, data)
        return True

    def upload(self, key: str, path: Path, *, move: bool = False) -> None:
        with self._request(f"upload {key}"):
            self.data[check_key(key)] = path.read_bytes()

    def download(self, key: str, path: Path) -> None:
        data = self.get(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def download_rest(self, key: str, path: Path, size: int) -> None:
        data = self.get(key)
        with path.open("ab") as writer:
            writer.write(data[writer.tell() :])

    def objects(self, prefix: str) -> Iterator[ObjectInfo]:
        with self._request(f"list {check_prefix(prefix)}"):
            now = datetime.now(UTC)
            found = sorted((key, len(data)) for key, data in list(self.data.items()) if key.startswith(prefix))
            return iter([ObjectInfo(key, size, now) for key, size in found])

    def folders(self, prefix: str) -> list[str]:
        keys = [info.key.removeprefix(prefix) for info in self.objects(prefix)]
        return sorted({key.partition("/")[0] for key in keys if "/" in key})

    def delete(self, keys: Iterable[str]) -> None:
        for key in list(keys):
            with self._request(f"delete {key}"):
                self.data.pop(check_key(key), None)

    @contextmanager
    def _request(self, text: str) -> Iterator[None]:
        late = self._step(text)
        yield
        if late is not None:
            raise late


@pytest.fixture
def memory() -> MemoryStore:
    """A fresh, empty store in memory."""
    return MemoryStore()
