"""A run's artifacts: made in a local folder, committed to the store whole or not at all, and never made twice."""

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from runner.runs.layout import artifact_prefix, run_key
from runner.runs.record_types.rules import is_artifact_key
from runner.storage.commit import commit, fetch, verify
from runner.storage.manifest import Damaged
from runner.storage.retry import Caller, directly
from runner.storage.store import NotFound, Store


class ArtifactStore:
    """The artifacts of one run, for an attempt or an export that makes some.

    Args:
        store: where the run lives.
        run_id: the run.
        token: of the attempt or export; part of the key of each artifact that it makes.
        folder: a local folder of its own.
        trusted: returns the tokens whose artifacts equal those that this attempt would make, the newest first.
        before_manifest: called right before an artifact becomes visible; an exception prevents it.
        call: makes each request; pass one that tries again while the store is away.
        suffix: what the names end with in the store, of artifacts that are not those of the run's end.
    """

    def __init__(
        self,
        store: Store,
        run_id: str,
        token: str,
        folder: Path,
        *,
        trusted: Callable[[], Sequence[str]],
        before_manifest: Callable[[], None],
        call: Caller = directly,
        suffix: str = "",
    ) -> None:
        self._suffix = suffix
        self._store = store
        self._run_id = run_id
        self._token = token
        self._folder = folder
        self._trusted = trusted
        self._before_manifest = before_manifest
        self._call = call
        self._keys: dict[str, str] = {}

    def existing_key(self, name: str) -> str | None:
        """The key in the run of an artifact that exists and is whole; None: it has to be made."""
        if name not in self._keys:
            for token in self._trusted():
                prefix = artifact_prefix(self._run_id, name + self._suffix, token)
                if self._is_whole(prefix):
                    self._keys[name] = prefix.removeprefix(run_key(self._run_id, ""))
                    break
        return self._keys.get(name)

    def commit(self, name: str, make: Callable[[Path], None], *, keep: bool = False) -> str:
        """Make an artifact in a folder and commit it, unless it exists; returns its key in the run.

        Args:
            name: the artifact's name.
            make: writes the files into the folder that it is given.
            keep: keep the local files, for `folder`.
        """
        existing = self.existing_key(name)
        if existing is not None:
            return existing
        prefix = artifact_prefix(self._run_id, name + self._suffix, self._token)
        key = prefix.removeprefix(run_key(self._run_id, ""))
        folder = self._folder / key
        folder.mkdir(parents=True)
        make(folder)
        files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
        put = partial(commit, self._store, prefix, files, {"name": name}, before_manifest=self._before_manifest)
        self._call(put)
        if not keep:
            shutil.rmtree(folder)
        self._keys[name] = key
        return key

    def folder(self, key: str) -> Path:
        """A local copy of an existing artifact; not to be changed.

        Args:
            key: what `commit` or `existing_key` returned.

        Raises:
            NotFound, Damaged: what is in the store is not what was committed.
        """
        if not is_artifact_key(key):  # from a checkpoint, say
            raise Damaged(ascii(key), "not an artifact's key")
        folder = self._folder / key
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            self._call(partial(fetch, self._store, run_key(self._run_id, key), folder))
        return folder

    def _is_whole(self, prefix: str) -> bool:
        try:
            self._call(partial(verify, self._store, prefix, contents=False))
        except (NotFound, Damaged):
            return False
        return True
