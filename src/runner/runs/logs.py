"""A run's logs, of all its attempts."""

import re
from collections.abc import Mapping

from runner.runs.chunks import by_attempt, chunk_keys, read_chunks
from runner.storage.store import Store

Cursor = Mapping[str, int]
"""How far a log was read: the last chunk of each attempt, by token."""

_COLOR_OR_CONTROL = re.compile(r"(\x1b\[[0-9;]{0,30}m)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def read_log(store: Store, run_id: str, after: Cursor | None = None) -> tuple[str, Cursor]:
    """What all attempts printed, in the order of attempts, since the last call.

    Args:
        store: where the run lives.
        run_id: the run.
        after: the cursor that the last call returned; None reads from the beginning.

    Returns:
        The new text, and the cursor for the next call.
    """
    read_to = dict(after or {})
    keys = []
    for token, chunks in sorted(chunk_keys(store, run_id, "logs").items(), key=by_attempt):
        new = [sequence for sequence in chunks if sequence > read_to.get(token, 0)]
        keys += [chunks[sequence] for sequence in new]
        if new:
            read_to[token] = new[-1]
    return b"".join(read_chunks(store, keys, {})).decode(errors="replace"), read_to


def for_terminal(log: str) -> str:
    """A log without control sequences other than colors, so that it cannot move the cursor or set the title."""
    return _COLOR_OR_CONTROL.sub(lambda match: match[1] or "\N{REPLACEMENT CHARACTER}", log)
