"""A run's metric records, of the attempts that its newest one continues."""

from collections.abc import Iterator, MutableMapping

from runner.runs.checkpoints.lineage import Position, read_lineage
from runner.runs.chunks import chunk_keys, read_chunks
from runner.runs.layout import chunk_key
from runner.runs.record_types.result import MetricRecord
from runner.runs.records import decoded
from runner.storage.manifest import Damaged
from runner.storage.store import Store

_RANKS = {"before": 0, "": 1, "during": 2, "after": 3}
"""The order of the records of one step: training is "", the others are the phases of evaluations."""


def read_metrics(store: Store, run_id: str, *, cache: MutableMapping[str, bytes] | None = None) -> list[MetricRecord]:
    """The metrics along the lineage of the newest attempt: one training record a step, and each evaluation once.

    Args:
        store: where the run lives.
        run_id: the run.
        cache: chunks by key, for callers that ask repeatedly: chunks never change, and only new ones are read.

    Returns:
        The records by stage and step; an evaluation before training comes before the step's training record, others
        after it.

    Raises:
        Damaged: a chunk is missing.
        DamagedRecord: a chunk holds something else than records.
    """
    lineage = read_lineage(store, run_id)
    chunks = chunk_keys(store, run_id, "metrics")
    records: dict[tuple[Position, int, str], MetricRecord] = {}
    for token in lineage.tokens:
        numbers = chunks.get(token, {})
        for expected, number in enumerate(numbers, 1):
            if number != expected:
                raise Damaged(chunk_key(run_id, "metrics", token, expected), "missing")
        keys = list(numbers.values())
        for key, data in zip(keys, read_chunks(store, keys, {} if cache is None else cache), strict=True):
            for record in _records(key, data):
                stage, step = record["stage"], record["step"]
                phase = record.get("phase", "during") if record["kind"] == "eval" else ""
                if lineage.holds(token, stage, step):
                    # The first that was shown stays.
                    records.setdefault((lineage.position(stage, step), _RANKS.get(phase, 2), phase), record)
    return [records[place] for place in sorted(records)]


def _records(key: str, data: bytes) -> Iterator[MetricRecord]:
    for line in data.splitlines():
        yield decoded(key, line, MetricRecord)
