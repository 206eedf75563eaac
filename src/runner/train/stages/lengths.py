"""How long the examples are that a stage is trained on, in tokens."""

from typing import Any

import numpy as np

from runner.runs.record_types.measured import LengthsRecord
from runner.train.data.truncation import example_lengths

_MOST_PARTS = 20


def lengths_record(dataset: Any) -> LengthsRecord | None:
    """Return how the lengths of a prepared dataset are spread; None: it has no tokens yet, or no rows.

    Args:
        dataset: a trainer's, as TRL has prepared it. It is read once, a part of it at a time.
    """
    counts = np.zeros(1, dtype=np.int64)  # by length
    for lengths in example_lengths(dataset):
        found = np.bincount(lengths, minlength=len(counts))
        found[: len(counts)] += counts
        counts = found
    examples = int(counts.sum())
    if not examples:
        return None
    (present,) = np.nonzero(counts)
    greatest = int(present[-1])
    width = -(-(greatest + 1) // _MOST_PARTS)
    parts = -(-(greatest + 1) // width)
    padded = np.zeros(parts * width, dtype=np.int64)
    padded[: greatest + 1] = counts[: greatest + 1]
    return {
        "examples": examples,
        "tokens": int(np.arange(len(counts)) @ counts),
        "least": int(present[0]),
        "median": int(np.searchsorted(np.cumsum(counts), (examples + 1) // 2)),
        "greatest": greatest,
        "width": width,
        "counts": padded.reshape(parts, width).sum(axis=1).tolist(),
    }
