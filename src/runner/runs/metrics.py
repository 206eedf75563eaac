"""A run's metric records, of the attempts that its newest one continues."""

import json
from collections.abc import Iterator, MutableMapping
from typing import Any

from runner.runs.chunks import _chunks, _contents
from runner.runs.layout import chunk_key
from runner.runs.lineage import Position, read_lineage
from runner.storage.manifest import Damaged
from runner.storage.store import Store

_PLACES = {"before": 0, "": 1, "during": 2, "after": 3}
"""Where an evaluation of a phase stands beside the training record of the same step."""


def read_metrics(store: Store, run_id: str, *, cache: MutableMapping[str, bytes] | None = None) -> list[dict[str, Any]]:
    """The metrics along the lineage of the newest attempt: one training record a step, and each evaluation once.

    Args:
        store: where from.
        run_id: the run.
        cache: chunks by key, for who asks again and again: they never change, and only new ones are read.

    Returns:
        The records by stage and step; an evaluation before training comes before the step's training record, others
        after it.

    Raises:
        Damaged: a chunk is missing or holds something else than records.
    """
    lineage = read_lineage(store, run_id)
    chunks = _chunks(store, run_id, "metrics")
    found: dict[tuple[Position, int, str], dict[str, Any]] = {}
    for token in lineage.tokens:
        keys = list(chunks.get(token, {}).values())
        missing = set(range(1, len(keys) + 1)) - chunks.get(token, {}).keys()
        if missing:
            raise Damaged(chunk_key(run_id, "metrics", token, min(missing)), "missing")
        for key, data in zip(keys, _contents(store, keys, {} if cache is None else cache), strict=True):
            for record, (stage, step, place, phase) in _records(key, data):
                if lineage.holds(token, stage, step):
                    # The first that was shown stays.
                    found.setdefault((lineage.position(stage, step), place, phase), record)
    return [found[place] for place in sorted(found)]


def _records(key: str, data: bytes) -> Iterator[tuple[dict[str, Any], tuple[str, int, int, str]]]:
    """Each record, with its stage, its step, and what tells and orders the records of one step."""
    for line in data.splitlines():
        try:
            record = json.loads(line)
            stage, step, kind = record["stage"], record["step"], record["kind"]
            phase = str(record.get("phase", "during")) if kind == "eval" else ""
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Damaged(key, "holds something else than records of metrics") from error
        if not isinstance(stage, str) or not isinstance(step, int):
            raise Damaged(key, "holds a record without a stage or a step")
        yield record, (stage, step, _PLACES.get(phase, 2), phase)
