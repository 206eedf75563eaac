"""Fetch a run's records, metrics and artifacts, checked byte for byte."""

import difflib
import fcntl
import json
import os
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from runner.errors import UserError
from runner.paths import make_folder
from runner.runs.checkpoints.choice import choose_checkpoint, is_model_file, no_model, short_name
from runner.runs.layout import EXPORT_TOKEN, RESULT, RUN, checkpoint_prefix, is_token, run_key
from runner.runs.metrics import read_metrics
from runner.runs.record_types.result import Result
from runner.runs.record_types.rules import is_artifact_name
from runner.runs.records import DamagedRecord, run_document, run_result
from runner.storage.atomic import PART, atomic_write, temporary_path
from runner.storage.commit import check_sizes, digest, read_manifest
from runner.storage.manifest import MANIFEST, Damaged, Manifest, ManifestFile
from runner.storage.names.placing import check_names, place
from runner.storage.store import NotFound, Store

_FILES_AT_ONCE = 4


@dataclass(kw_only=True)
class Collected:
    """What was fetched."""

    folder: Path
    """The folder it is in."""
    fetched: list[str] = field(default_factory=list)
    """Files that were fetched, relative to the folder."""
    fetched_bytes: int = 0
    """Their size."""
    already_there: list[str] = field(default_factory=list)
    """Files that an earlier call had fetched completely."""


def pull(
    store: Store,
    run_id: str,
    folder: Path,
    *,
    say: Callable[[str], None],
    checkpoint: str | None = None,
    only: Collection[str] = (),
) -> Collected:
    """Fetch ``run.json``, ``result.json``, ``metrics.jsonl`` and ``artifacts/<name>/…`` into `folder`.

    With a checkpoint, also what of it makes a model: ``checkpoints/<stage>-<step>/…``.

    It may be called again after an interruption, and while the run is running: complete files are not fetched again.

    Args:
        store: where the run lives.
        run_id: the run.
        folder: made if it is missing.
        say: receives a sentence if the run has not ended.
        checkpoint: which one, as `choose_checkpoint` reads it.
        only: names of artifacts: only these are fetched, with the records; none: all.

    Raises:
        UserError: the run has no artifact of such a name; the folder holds something else, or cannot be written; or an
            artifact is damaged in the store.
    """
    collected = Collected(folder=folder)
    chosen = None if checkpoint is None else choose_checkpoint(store, run_id, checkpoint)
    result = run_result(store, run_id)
    artifacts = artifact_prefixes(store, run_id, result)
    if unknown := sorted(set(only) - artifacts.keys()):
        raise _no_artifact(run_id, unknown[0], sorted(artifacts))
    try:
        _refuse_another_runs_folder(folder, run_id)
        folder.mkdir(parents=True, exist_ok=True)
        # First what a later call recognizes the folder by.
        _write(collected, RUN, json.dumps(run_document(store, run_id), indent=2).encode() + b"\n")
        if result is None:
            say(f"{run_id} has not ended: what it has so far is fetched; `runner pull` again fetches the rest")
        else:
            _write(collected, RESULT, json.dumps(result, indent=2).encode() + b"\n")
        lines = [json.dumps(record) + "\n" for record in read_metrics(store, run_id)]
        _write(collected, "metrics.jsonl", "".join(lines).encode())
        if result is not None and "model" not in artifacts and chosen is None:
            error = no_model(store, run_id)
            say(f"{run_id}: {error.what}; {error.remedy}")
        for name, prefix in sorted(artifacts.items()):
            if only and name not in only:
                continue
            _fetch_artifact(store, prefix, f"artifacts/{name}", collected)
        if chosen is not None:
            name = f"checkpoints/{short_name(chosen)}"
            _fetch_artifact(store, checkpoint_prefix(run_id, chosen), name, collected, only=is_model_file)
            say(f"{name} has the weights; the tokenizer is its base's: `runner export --checkpoint` adds it")
    except DamagedRecord:
        raise
    except Damaged as error:
        raise UserError(
            f"the artifact in the store is damaged: {error}",
            where=run_id,
            remedy="launch the run again; what was fetched before stays",
        ) from error
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror or error}", where=error.filename or str(folder)) from error
    return collected


def artifact_prefixes(store: Store, run_id: str, result: Result | None) -> dict[str, str]:
    """Return the prefixes of a run's artifacts by name: those in its result, and what `runner export` has made since.

    For a run that is running, or failed while it exported, these are the newest committed ones.
    """
    newest: dict[str, str] = {}
    exported: dict[str, str] = {}
    root = run_key(run_id, "artifacts/")
    for key in sorted(entry.key for entry in store.objects(root)):
        parts = key.removeprefix(root).split("/")
        if len(parts) == 3 and parts[2] == MANIFEST:  # tokens sort by attempt: the last one stands
            name, token, _ = parts
            if not is_artifact_name(name) or not (is_token(token) or EXPORT_TOKEN.fullmatch(token)):
                continue
            found = exported if EXPORT_TOKEN.fullmatch(token) else newest
            found[name] = f"{root}{name}/{token}/"
    named = result.get("artifacts") if result is not None else None
    if named:
        newest = {name: run_key(run_id, path) for name, path in named.items()}
    return {**exported, **newest}


def _no_artifact(run_id: str, name: str, names: Collection[str]) -> UserError:
    near = difflib.get_close_matches(name, names, n=1)
    remedy = f"did you mean {near[0]!r}? " if near else ""
    remedy += f"it has {', '.join(names)}" if names else "it has none yet: `runner checkpoints` lists its checkpoints"
    return UserError(f"the run has no artifact {name!r}", where=f"{run_id}, --artifact", remedy=remedy)


def _refuse_another_runs_folder(folder: Path, run_id: str) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError("is not a folder", where=str(folder), remedy="name a folder that does not exist yet")
    if not folder.exists() or not any(folder.iterdir()):
        return
    remedy = f"name another folder, such as `runner pull {run_id} {run_id}`"
    try:
        document = json.loads((folder / RUN).read_bytes())
        other = document["run_id"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        raise UserError("is not empty, and holds no run", where=str(folder), remedy=remedy) from None
    if other != run_id:
        raise UserError(f"holds another run, {other}", where=str(folder), remedy=remedy)


def _write(collected: Collected, name: str, data: bytes) -> None:
    path = place(collected.folder, name)
    if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
        collected.already_there.append(name)
        return
    with atomic_write(path) as part:
        part.write_bytes(data)
    collected.fetched.append(name)
    collected.fetched_bytes += len(data)


def _fetch_artifact(
    store: Store, prefix: str, name: str, collected: Collected, *, only: Callable[[str], bool] = lambda name: True
) -> None:
    try:
        manifest = read_manifest(store, prefix)
    except NotFound as error:
        raise Damaged(prefix, "its manifest is missing") from error
    manifest = Manifest(tuple(file for file in manifest.files if only(file.name)), manifest.metadata)
    check_names(file.name for file in manifest.files)
    _remove_what_another_attempt_made(collected.folder, name, manifest)

    try:
        check_sizes(store, prefix, manifest.files)
    except Damaged as error:
        raise Damaged(prefix + error.name, error.reason) from error

    def fetch(file: ManifestFile) -> bool:
        path = place(collected.folder, f"{name}/{file.name}")
        if path.is_file() and path.stat().st_size == file.size and digest(path) == file.blake3:
            return False
        make_folder(path.parent)
        # Named by its digest: a pull that is killed leaves its beginning, and the next one goes on with it.
        with _own_part(path.with_name(f"{PART}{file.blake3[:32]}")) as part:
            for is_last in (False, True):
                if part.stat().st_size > file.size:
                    os.truncate(part, 0)
                begun = part.stat().st_size > 0
                try:
                    store.download_rest(prefix + file.name, part, file.size)
                except NotFound as error:
                    raise Damaged(prefix + file.name, "missing") from error
                if part.stat().st_size == file.size and digest(part) == file.blake3:
                    part.replace(path)
                    return True
                os.truncate(part, 0)
                if is_last or not begun:  # once more if it may have been the beginning that was wrong
                    break
            raise Damaged(prefix + file.name, "not what was committed")

    with ThreadPoolExecutor(_FILES_AT_ONCE, thread_name_prefix="pull") as pool:
        fetched = list(pool.map(fetch, manifest.files))
    for file, new in zip(manifest.files, fetched, strict=True):
        if new:
            collected.fetched.append(f"{name}/{file.name}")
            collected.fetched_bytes += file.size
        else:
            collected.already_there.append(f"{name}/{file.name}")
    _write(collected, f"{name}/{MANIFEST}", manifest.to_json())


@contextmanager
def _own_part(part: Path) -> Iterator[Path]:
    """Yield a file to collect bytes in, made if it is not there; another one if another process has it.

    What arrived stays if it breaks off, except if the file is not what it was to be.
    """
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # another pull, or a file system without locks
            part = temporary_path(part)
            part.touch()
        try:
            yield part
        except Damaged:
            part.unlink(missing_ok=True)
            raise
    finally:
        os.close(descriptor)


def _remove_what_another_attempt_made(folder: Path, artifact: str, manifest: Manifest) -> None:
    """Delete files of an older version of the artifact that this one lacks; files of the user's own stay."""
    try:
        before = Manifest.parse((folder / artifact / MANIFEST).read_bytes())
    except (FileNotFoundError, Damaged):
        return
    for name in {file.name for file in before.files} - {file.name for file in manifest.files}:
        place(folder, f"{artifact}/{name}").unlink(missing_ok=True)
