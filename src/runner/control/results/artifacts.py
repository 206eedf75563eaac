"""A run's artifacts: names, sizes, digests, and where they are."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from runner.control.results.pull import artifact_prefixes
from runner.runs.records import run_document, run_result
from runner.storage.commit import read_manifest
from runner.storage.manifest import Damaged, ManifestFile
from runner.storage.store import NotFound, Store

_READERS = 8


@dataclass(frozen=True, kw_only=True)
class StoredArtifact:
    """A committed artifact of a run."""

    name: str
    """Its name, as `runner pull --artifact` takes it."""
    key: str
    """The key of its folder in the store."""
    url: str
    """The address of that folder: the store's URL and the key."""
    files: tuple[ManifestFile, ...]
    """Its files with sizes and digests (BLAKE3), by name."""
    problem: str | None
    """Why it cannot be used; None: its manifest is whole."""

    @property
    def size(self) -> int:
        """Bytes of all of its files."""
        return sum(file.size for file in self.files)


def list_artifacts(store: Store, run_id: str) -> list[StoredArtifact]:
    """Return the artifacts of a run by name: those of its result, and what `runner export` has made since.

    Raises:
        NotFound: there is no such run.
    """
    run_document(store, run_id)
    prefixes = artifact_prefixes(store, run_id, run_result(store, run_id))

    def look(name: str) -> StoredArtifact:
        prefix = prefixes[name]
        files: tuple[ManifestFile, ...] = ()
        problem = None
        try:
            files = read_manifest(store, prefix).files
        except Damaged as error:
            problem = str(error)
        except NotFound:
            problem = "its manifest is missing"
        return StoredArtifact(name=name, key=prefix, url=f"{store.url}/{prefix}", files=files, problem=problem)

    with ThreadPoolExecutor(_READERS, thread_name_prefix="artifacts") as readers:
        return list(readers.map(look, sorted(prefixes)))
