"""Where a run comes from, if it comes from another run: what it goes on from, and what it started from."""

from blake3 import blake3

from runner.runs.layout import START, CheckpointName, checkpoint_prefix, run_key
from runner.runs.record_types.run import RunDocument, RunLineage, StartRecord
from runner.runs.records import encoded, find_record, read_record
from runner.storage.manifest import MANIFEST, Damaged, canonical_json
from runner.storage.store import Store


def extension(document: RunDocument) -> RunLineage | None:
    """Return what a run extends; None if it does not extend another."""
    lineage = document.get("lineage")
    return lineage if lineage is not None and lineage["kind"] == "extend" else None


def extended_checkpoint(lineage: RunLineage) -> tuple[str, CheckpointName] | None:
    """Return the run and the checkpoint that an extension goes on from; None: its record names none."""
    name = CheckpointName.parse(lineage.get("checkpoint") or "")
    return None if name is None else (lineage["run_id"], name)


def checkpoint_digest(store: Store, run_id: str, name: CheckpointName) -> str:
    """Return the digest of a checkpoint, as a lineage records it.

    Raises:
        NotFound: it is not committed.
    """
    return manifest_digest(store, checkpoint_prefix(run_id, name))


def manifest_digest(store: Store, prefix: str) -> str:
    """Return the digest of a committed folder: of its manifest, which has the digest of each file.

    Raises:
        NotFound: it is not committed.
    """
    return blake3(store.get(prefix + MANIFEST)).hexdigest()


def require_digest(store: Store, prefix: str, digest: str | None) -> None:
    """Make sure that a committed folder is still the one that a lineage names.

    Raises:
        NotFound, Damaged: it is not.
    """
    if digest is not None and manifest_digest(store, prefix) != digest:
        raise Damaged(prefix, "it is not what it was when the run was launched: its digest is another")


def first_start(store: Store, run_id: str) -> StartRecord:
    """Return what a run's first stage starts from: artifacts of its own if it started from another run's model.

    Raises:
        DamagedRecord: the record cannot be trusted.
    """
    return find_record(store, run_key(run_id, START), StartRecord) or {"base": None, "adapter": None}


def write_first_start(store: Store, run_id: str, start: StartRecord) -> StartRecord:
    """Record what a run's first stage starts from; return the record that stands, which may be an earlier attempt's."""
    if store.create(run_key(run_id, START), encoded(start)):
        return start
    return read_record(store, run_key(run_id, START), StartRecord)


def identity_digest(recipe: object, lineage: RunLineage) -> str:
    """Return the digest of a training that goes on from another run: of its recipe, and of what it goes on from."""
    return blake3(canonical_json({"recipe": recipe, "lineage": lineage})).hexdigest()
