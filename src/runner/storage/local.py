"""A folder as a store: a laptop's disk, or a shared file system.

It uses the file system itself, not obstore: a hard link commits a file without a copy, `os.scandir` lists ten thousand
runs in milliseconds, and `errno` distinguishes a full disk from a missing one.
"""

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, TypeVar

from runner.errors import UserError
from runner.paths import make_private
from runner.storage.atomic import PART, atomic_write, fsync, temporary_path
from runner.storage.manifest import Damaged
from runner.storage.names.odd_keys import OddKeys
from runner.storage.store import NotFound, ObjectInfo, StoreFull, StoreUnavailable, check_key, check_prefix, check_size

_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)

R = TypeVar("R")


class LocalStore:
    """Objects are files below `root`. The first write creates the folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = str(root)
        self._odd_keys = OddKeys(self.url)

    def get(self, key: str) -> bytes:
        """See `Store.get`."""
        try:
            with self._open(key) as reader:
                check_size(key, os.fstat(reader.fileno()).st_size)
                return reader.read()
        except OSError as error:
            raise self._read_error(error, key) from error

    def put(self, key: str, data: bytes) -> None:
        """See `Store.put`. A power cut may undo it."""

        def write(path: Path) -> None:
            with atomic_write(path) as part:
                part.write_bytes(data)

        self._write(key, write)

    def create(self, key: str, data: bytes) -> bool:
        """See `Store.create`. Atomic if the file system has hard links."""

        def write(path: Path) -> bool:
            if path.is_dir():  # to read, there is nothing: who creates and then looks would do so for ever
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
            if path.exists():
                return False
            part = temporary_path(path)
            try:
                part.write_bytes(data)
                fsync(part)
                created = _link_if_absent(part, path)
            finally:
                part.unlink(missing_ok=True)
            fsync(path.parent)
            return created

        return self._write(key, write)

    def upload(self, key: str, path: Path, *, move: bool = False) -> None:
        """See `Store.upload`. With `move`, one hard link."""
        source = path.resolve(strict=True)

        def write(target: Path) -> None:
            with atomic_write(target, sync=True) as part:
                if not (move and _try_link(source, part)):
                    shutil.copyfile(source, part)

        self._write(key, write)

    def download(self, key: str, path: Path) -> None:
        """See `Store.download`."""
        try:
            source = self._open(key)
        except OSError as error:
            raise self._read_error(error, key) from error
        with source as reader, atomic_write(path) as part, part.open("wb") as writer:
            while chunk := self._read(reader, key):
                writer.write(chunk)

    def download_rest(self, key: str, path: Path, size: int) -> None:
        """See `Store.download_rest`."""
        try:
            source = self._open(key)
        except OSError as error:
            raise self._read_error(error, key) from error
        with source as reader, path.open("ab") as writer:
            reader.seek(writer.tell())
            while chunk := self._read(reader, key):
                writer.write(chunk)

    def objects(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `Store.objects`."""
        infos: list[ObjectInfo] = []
        try:
            _walk(self.root / check_prefix(prefix), prefix, infos)
        except OSError as error:
            raise self._read_error(error, prefix) from error
        return iter(sorted(self._odd_keys.objects(infos), key=lambda info: info.key))

    def folders(self, prefix: str) -> list[str]:
        """See `Store.folders`. Costs one `scandir`, however many objects there are."""
        try:
            with os.scandir(self.root / check_prefix(prefix)) as entries:
                return sorted(self._odd_keys.names(entry.name for entry in entries if _is_folder(entry)))
        except OSError as error:
            if error.errno in _ABSENT:
                return []
            raise self._read_error(error, prefix) from error

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`. Folders that become empty are deleted too."""
        wanted = list(keys)
        paths = [self._path(key) for key in wanted]
        for key in wanted:
            self._refuse_links(key)
        try:
            for path in paths:
                try:
                    path.unlink()
                except OSError as error:
                    if error.errno not in _ABSENT:
                        raise
            for folder in sorted({path.parent for path in paths}, key=lambda path: -len(path.parts)):
                self._remove_if_empty(folder)
        except OSError as error:
            raise self._write_error(error) from error

    def _read(self, reader: BinaryIO, key: str) -> bytes:
        try:
            return reader.read(1 << 20)
        except OSError as error:
            raise self._read_error(error, key) from error

    def _open(self, key: str) -> BinaryIO:
        """Open an object. Nobody waits for what is no file: a pipe that somebody has put there, say."""
        descriptor = os.open(self._path(key), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode):
            return os.fdopen(descriptor, "rb")
        os.close(descriptor)
        raise NotFound(key) if stat.S_ISDIR(mode) else Damaged(key, "it is not a file")

    def _path(self, key: str) -> Path:
        path = self.root / check_key(key)
        if path.name.startswith(PART):
            raise ValueError(f"not a key: {key!r}")
        return path

    def _write(self, key: str, write: Callable[[Path], R]) -> R:
        path = self._path(key)
        self._refuse_links(key)
        for last in (False, False, True):
            try:
                make_private(self.root)
                return write(path)
            except FileNotFoundError as error:
                # Another process emptied the folder and removed it between our mkdir and our open.
                if last:
                    raise StoreUnavailable(f"{self.root}: {error}") from error
            except OSError as error:
                raise self._write_error(error) from error
        raise AssertionError("unreachable")

    def _refuse_links(self, key: str) -> None:
        """Refuse to write or delete through a link that leads out of the store: whoever else writes to it may make one.

        Raises:
            UserError: there is one.
        """
        at = self.root
        for part in key.split("/")[:-1]:
            at = at / part
            try:
                is_link = stat.S_ISLNK(os.lstat(at).st_mode)
            except OSError:
                return  # it is not there yet, or the write itself meets the same error
            if is_link and not at.resolve().is_relative_to(self.root.resolve()):
                raise UserError(
                    "is a link that leads out of the store, and nothing is written or deleted through it",
                    where=str(at),
                    remedy="Move what it leads to into the store.",
                )

    def _remove_if_empty(self, folder: Path) -> None:
        while folder != self.root and folder.is_relative_to(self.root):
            try:
                with os.scandir(folder) as entries:
                    left = [entry.name for entry in entries]
                if not all(name.startswith(PART) for name in left):
                    return
                for name in left:  # temporary files of a writer that was killed
                    (folder / name).unlink(missing_ok=True)
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
                return
            folder = folder.parent

    def _read_error(self, error: OSError, key: str) -> Exception:
        if error.errno in _ABSENT:
            return NotFound(key)
        return self._write_error(error)

    def _write_error(self, error: OSError) -> Exception:
        where = str(error.filename or self.root)
        reason = error.strerror or str(error)
        if error.errno in _FULL:
            return StoreFull(errno.ENOSPC, f"no room left in the store ({reason})", str(self.root))
        if error.errno in _REFUSED:
            return UserError(
                f"the store cannot be used: {reason}",
                where=where,
                remedy=f"Make {self.root} a folder that you may read and write, or name another with --store.",
            )
        return StoreUnavailable(f"{where}: {reason}")


def _walk(folder: Path, prefix: str, infos: list[ObjectInfo], *, follow: bool = True) -> None:
    """Collect the files below a folder. In a folder that is a link, links are not followed: they may form a ring."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not follow and entry.is_symlink():
                    continue
                if _is_folder(entry):
                    _walk(
                        folder / entry.name, f"{prefix}{entry.name}/", infos, follow=follow and not entry.is_symlink()
                    )
                elif not entry.name.startswith(PART):
                    try:
                        status = entry.stat()
                    except OSError as error:
                        if error.errno not in (errno.ENOENT, errno.ELOOP):
                            raise
                        continue
                    if not stat.S_ISREG(status.st_mode):
                        continue
                    modified = datetime.fromtimestamp(status.st_mtime, UTC)
                    infos.append(ObjectInfo(f"{prefix}{entry.name}", status.st_size, modified))
    except OSError as error:
        if error.errno not in _ABSENT:
            raise


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return False  # a link that leads to itself


def _try_link(source: Path, target: Path) -> bool:
    """Make a hard link if the file system can; False if it cannot."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno in _FULL:
            raise
        return False
    return True


def _link_if_absent(part: Path, path: Path) -> bool:
    try:
        os.link(part, path)
    except FileExistsError:
        # On NFS the reply to a successful link can get lost, and the repeated call then fails.
        return part.samefile(path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
            raise
        if path.exists():  # no hard links (exFAT, some network mounts): look, then write
            return False
        part.replace(path)
    return True
