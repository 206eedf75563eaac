"""A run's metric records, of the attempts that its newest one continues."""

from collections.abc import Iterator, MutableMapping

from runner.runs.checkpoints.lineage import Lineage, Position, read_lineage
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
    records: dict[tuple[Position, int, str], MetricRecord] = {}
    for found in records_by_attempt(store, run_id, lineage, cache=cache).values():
        for record in found:
            phase = record.get("phase", "during") if record["kind"] == "eval" else ""
            place = lineage.position(record["stage"], record["step"])
            records.setdefault((place, _RANKS.get(phase, 2), phase), record)  # the first that was shown stays
    return [records[place] for place in sorted(records)]


def records_by_attempt(
    store: Store, run_id: str, lineage: Lineage, *, cache: MutableMapping[str, bytes] | None = None
) -> dict[str, list[MetricRecord]]:
    """The records that count, by the token of the attempt that wrote them, the oldest attempt first.

    Args:
        store: where the run lives.
        run_id: the run.
        lineage: which count.
        cache: as in `read_metrics`.

    Raises:
        Damaged, DamagedRecord: as `read_metrics`.
    """
    chunks = chunk_keys(store, run_id, "metrics")
    records: dict[str, list[MetricRecord]] = {}
    for token in lineage.tokens:
        numbers = chunks.get(token, {})
        for expected, number in enumerate(numbers, 1):
            if number != expected:
                raise Damaged(chunk_key(run_id, "metrics", token, expected), "missing")
        keys = list(numbers.values())
        read = zip(keys, read_chunks(store, keys, {} if cache is None else cache), strict=True)
        records[token] = [
            record
            for key, data in read
            for record in _records(key, data)
            if lineage.holds(token, record["stage"], record["step"])
        ]
    return records


def _records(key: str, data: bytes) -> Iterator[MetricRecord]:
    for line in data.splitlines():
        yield decoded(key, line, MetricRecord)
