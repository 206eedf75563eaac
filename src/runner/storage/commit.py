"""The checkpoint transaction: upload the files in parallel, then create the manifest once.

A prefix without a manifest is not a checkpoint: it is still being written, or being deleted. Every file that is read
back is compared with the manifest's checksum before the caller gets it.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from blake3 import blake3

from runner.storage.atomic import temporary_path
from runner.storage.manifest import MANIFEST, Damaged, Manifest, ManifestFile, canonical_json, is_relative_name
from runner.storage.names.placing import check_names, place
from runner.storage.retry import Caller, directly
from runner.storage.store import NotFound, Store, StoreUnavailable, check_prefix, create_ours

_FILES_AT_ONCE = 4
_HASHES_AT_ONCE = 2

R = TypeVar("R")


class AlreadyCommitted(Exception):
    """This prefix already has another manifest. What is committed never changes."""


def commit(
    store: Store,
    prefix: str,
    files: Mapping[str, Path],
    metadata: Mapping[str, Any],
    *,
    before_manifest: Callable[[], None] | None = None,
    others: Callable[[], Iterable[ManifestFile]] = tuple,
    move: bool = False,
    call: Caller = directly,
) -> Manifest:
    """Upload `files` and write the manifest that makes them one committed folder.

    May be called again after a failure, with the same files; it uploads all of them again.

    Args:
        prefix: key of the folder, ends with "/". Nothing else writes below it but `others`.
        files: local paths, by name in the manifest.
        metadata: stored in the manifest; any JSON.
        before_manifest: called after all uploads, right before the manifest is written; an exception stops the commit.
        others: returns files that other processes have uploaded to the same folder; may wait for them.
        move: the caller will not use the files again, see `Store.upload`.
        call: makes each request; pass `functools.partial(retrying, …)` to continue while the store is unavailable.

    Raises:
        AlreadyCommitted: other contents were committed there before.
        StoreUnavailable, StoreFull, UserError: from the store.
        ValueError: a name or the metadata does not fit into a manifest.
    """
    for name in files:
        if not is_relative_name(name) or name == MANIFEST:
            raise ValueError(f"not a file's name: {name!r}")
    canonical_json(dict(metadata))
    check_prefix(prefix)
    entries = upload_files(store, prefix, files, move=move, call=call)
    manifest = Manifest((*entries, *others()), metadata)
    call(partial(_check_sizes, store, prefix, manifest))
    if before_manifest is not None:
        before_manifest()
    if not call(partial(create_ours, store, prefix + MANIFEST, manifest.to_json())):
        raise AlreadyCommitted(prefix)
    return manifest


def read_manifest(store: Store, prefix: str) -> Manifest:
    """Read the manifest under `prefix`.

    Raises:
        NotFound: nothing is committed there.
        DamagedManifest: the manifest cannot be trusted.
    """
    return Manifest.parse(store.get(prefix + MANIFEST))


def fetch(
    store: Store,
    prefix: str,
    folder: Path,
    *,
    call: Caller = directly,
    only: Callable[[str], bool] = lambda name: True,
) -> Manifest:
    """Download and verify what is committed under `prefix` into `folder`: all of it, or nothing.

    With `only`, all files whose names it accepts.

    The files are downloaded to a folder beside `folder`, which then replaces it. If `folder` is not empty, they are
    moved into it one by one instead.

    Raises:
        NotFound: nothing is committed there.
        Damaged: the manifest or a file is missing or differs from what was committed.
    """
    manifest = call(partial(read_manifest, store, prefix))
    check_names(file.name for file in manifest.files)
    staging = temporary_path(folder)
    with TemporaryDirectory(dir=folder.parent, prefix=staging.name) as name:
        staging = Path(name) / "files"
        staging.mkdir()
        files = [file for file in manifest.files if only(file.name)]
        call(partial(check_sizes, store, prefix, files))
        _for_each_file(partial(_fetch_file, store, prefix, staging, call), files)
        if not folder.exists() or not any(folder.iterdir()):
            staging.replace(folder)
        else:
            for file in files:
                (staging / file.name).replace(place(folder, file.name))
    return manifest


def verify(store: Store, prefix: str, *, contents: bool = True) -> Manifest:
    """Check what is committed under `prefix`, and return its manifest.

    Args:
        prefix: key of the folder, ends with "/".
        contents: read and compare every file. Otherwise read only the manifest, and compare names and sizes with one
            listing.

    Raises:
        NotFound: nothing is committed there.
        Damaged: the manifest or a file is missing or differs from what was committed.
    """
    manifest = read_manifest(store, prefix)
    sizes = _sizes(store, prefix)
    for file in manifest.files:
        _compare(file, sizes.get(file.name))
    if contents:
        with TemporaryDirectory() as name:
            _for_each_file(partial(_verify_file, store, prefix, Path(name)), manifest.files)
    return manifest


def digest(path: Path) -> str:
    """Return the BLAKE3 hash of a file's bytes as 64 hexadecimal digits."""
    return blake3(max_threads=1).update_mmap(path).hexdigest()


def upload_files(
    store: Store, prefix: str, files: Mapping[str, Path], *, move: bool = False, call: Caller = directly
) -> list[ManifestFile]:
    """Upload files below `prefix` and return their manifest entries. Arguments and errors as for `commit`."""
    # Hashing overlaps with uploading. Large files go first, so that none of them is left for the end.
    largest_first = sorted(files.items(), key=lambda item: -item[1].stat().st_size)
    uploading = ThreadPoolExecutor(_FILES_AT_ONCE, thread_name_prefix="upload")
    hashing = ThreadPoolExecutor(_HASHES_AT_ONCE, thread_name_prefix="hash")
    try:
        entries = [hashing.submit(_entry, name, path) for name, path in largest_first]
        uploads = [
            uploading.submit(call, partial(_upload, store, prefix + name, path, move)) for name, path in largest_first
        ]
        _raise_first([*entries, *uploads])
        return [entry.result() for entry in entries]
    finally:
        uploading.shutdown(cancel_futures=True)
        hashing.shutdown(cancel_futures=True)


def _upload(store: Store, key: str, path: Path, move: bool) -> None:
    if move:
        store.upload(key, path, move=True)
    else:
        store.upload(key, path)


def _entry(name: str, path: Path) -> ManifestFile:
    return ManifestFile(name, path.stat().st_size, digest(path))


def _check_sizes(store: Store, prefix: str, manifest: Manifest) -> None:
    sizes = _sizes(store, prefix)
    for file in manifest.files:
        if sizes.get(file.name) != file.size:
            raise StoreUnavailable(f"{store.url}: {prefix}{file.name} did not arrive complete")


def check_sizes(store: Store, prefix: str, files: Iterable[ManifestFile]) -> None:
    """Compare sizes with one listing, before files are downloaded that could fill the disk. Missing ones are left out.

    Raises:
        Damaged: one differs from what was committed.
    """
    sizes = _sizes(store, prefix)
    for file in files:
        _compare(file, sizes.get(file.name, file.size))


def _sizes(store: Store, prefix: str) -> dict[str, int]:
    return {info.key.removeprefix(prefix): info.size for info in store.objects(prefix)}


def _compare(file: ManifestFile, size: int | None) -> None:
    if size is None:
        raise Damaged(file.name, "missing")
    if size != file.size:
        raise Damaged(file.name, f"{size} bytes instead of {file.size}")


def _fetch_file(store: Store, prefix: str, folder: Path, call: Caller, file: ManifestFile) -> None:
    try:
        _download_and_compare(store, prefix, folder, call, file)
    except Damaged:
        # Try once more: it may have been damaged on the way only (TCP's checksum misses some errors).
        _download_and_compare(store, prefix, folder, call, file)


def _download_and_compare(store: Store, prefix: str, folder: Path, call: Caller, file: ManifestFile) -> None:
    path = folder / file.name
    try:
        call(partial(store.download, prefix + file.name, path))
    except NotFound as error:
        raise Damaged(file.name, "missing") from error
    _compare(file, path.stat().st_size)
    if digest(path) != file.blake3:
        raise Damaged(file.name, "its contents have changed")


def _verify_file(store: Store, prefix: str, folder: Path, file: ManifestFile) -> None:
    _fetch_file(store, prefix, folder, directly, file)
    (folder / file.name).unlink()


def _for_each_file(work: Callable[[ManifestFile], None], files: Iterable[ManifestFile]) -> None:
    largest_first = sorted(files, key=lambda file: -file.size)
    pool = ThreadPoolExecutor(_FILES_AT_ONCE, thread_name_prefix="download")
    try:
        _raise_first([pool.submit(work, file) for file in largest_first])
    finally:
        pool.shutdown(cancel_futures=True)


def _raise_first(futures: list[Future[Any]]) -> None:
    done, _ = wait(futures, return_when=FIRST_EXCEPTION)
    for future in done:
        future.result()
