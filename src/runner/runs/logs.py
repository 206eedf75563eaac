"""A run's logs, of all its attempts."""

from collections.abc import Mapping

from runner.runs.chunks import _chunks, _contents, _in_order
from runner.storage.store import Store

Cursor = Mapping[str, int]
"""How far a log was read: the last chunk of each attempt, by token."""


def read_log(store: Store, run_id: str, after: Cursor | None = None) -> tuple[str, Cursor]:
    """What all attempts printed, in their order, since the last call.

    Args:
        store: where from.
        run_id: the run.
        after: the cursor that the last call returned; None reads from the beginning.

    Returns:
        The new text, and the cursor for the next call.
    """
    seen = dict(after or {})
    keys = []
    for token, chunks in sorted(_chunks(store, run_id, "logs").items(), key=_in_order):
        new = [sequence for sequence in chunks if sequence > seen.get(token, 0)]
        keys += [chunks[sequence] for sequence in new]
        if new:
            seen[token] = new[-1]
    return b"".join(_contents(store, keys, {})).decode(errors="replace"), seen
