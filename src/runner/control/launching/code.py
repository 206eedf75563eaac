"""The code around a recipe as a run's record has it: the commit, and what was not committed, without secrets."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from blake3 import blake3

from runner.git import uncommitted_changes
from runner.redaction import Redactor
from runner.runs.record_types.run import CodeRecord

MOST_BYTES = 1 << 20
"""Of changes; larger ones are not kept."""

_DIRTY = "-dirty"


def record_code(
    folder: Path, revision: str | None, *, say: Callable[[str], None]
) -> tuple[CodeRecord, Mapping[str, bytes]]:
    """Return the record of the code in a recipe's folder, and its changes by their key in the run.

    Args:
        folder: the recipe's.
        revision: from `runner.git.revision_of`.
        say: receives a sentence if the changes are too large to be kept.
    """
    if revision is None or not revision.endswith(_DIRTY):
        return {"git_revision": revision, "dirty": False}, {}
    record: CodeRecord = {"git_revision": revision.removesuffix(_DIRTY), "dirty": True, "diff_key": None}
    changes = uncommitted_changes(folder, most_bytes=MOST_BYTES)
    if changes is None:
        say(f"the changes in {folder} since the last commit are not kept with the run: git gives none, or too many")
    if not changes:
        return record, {}  # the changes are elsewhere in the repository
    data = Redactor.of_environment(os.environ)(changes).encode(errors="replace")
    key = f"inputs/{blake3(data).hexdigest()}/code.diff"
    record["diff_key"] = key
    return record, {key: data}
