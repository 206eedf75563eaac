"""A run's system records: samples of its machines, of the attempts that its newest one continues."""

from collections import defaultdict
from collections.abc import Iterable, MutableMapping, Sequence
from itertools import pairwise
from typing import Any, cast

from runner.runs.checkpoints.lineage import read_lineage
from runner.runs.chunks import chunk_keys, read_chunks
from runner.runs.record_types.measured import GpuSample, SystemRecord
from runner.runs.records import DamagedRecord, decoded
from runner.storage.store import Store

_COUNTERS = ("network_sent_gib", "network_received_gib")
"""Fields that only grow: the last one counts."""


def read_system(store: Store, run_id: str, *, cache: MutableMapping[str, bytes] | None = None) -> list[SystemRecord]:
    """The samples of all machines of the lineage's attempts, by time.

    They are only for people: what is missing or no sample is passed over.

    Args:
        store: where the run lives.
        run_id: the run.
        cache: chunks by key, for callers that ask repeatedly: chunks never change, and only new ones are read.
    """
    chunks = chunk_keys(store, run_id, "system")
    if not chunks:
        return []
    tokens = read_lineage(store, run_id).tokens
    keys = [key for token in tokens for key in chunks.get(token, {}).values()]
    records: list[SystemRecord] = []
    for key, data in zip(keys, read_chunks(store, keys, {} if cache is None else cache), strict=True):
        for line in data.splitlines():
            try:
                records.append(decoded(key, line, SystemRecord))
            except DamagedRecord:
                continue
    return sorted(records, key=lambda record: (record["time"], record["node"]))


def thin(records: Sequence[SystemRecord], most: int = 500) -> list[SystemRecord]:
    """Return about `most` records at most: each the mean of records of one machine that follow one another.

    Args:
        records: by time, as `read_system` returns them.
        most: how many there may be; at least one remains for each machine.
    """
    if len(records) <= most:
        return list(records)
    by_node: defaultdict[int, list[SystemRecord]] = defaultdict(list)
    for record in records:
        by_node[record["node"]].append(record)
    each = max(1, most // len(by_node))
    thinned: list[SystemRecord] = []
    for of_node in by_node.values():
        count = min(each, len(of_node))
        bounds = [index * len(of_node) // count for index in range(count + 1)]
        thinned += [mean_of(of_node[first:last]) for first, last in pairwise(bounds)]
    return sorted(thinned, key=lambda record: (record["time"], record["node"]))


def mean_of(records: Sequence[SystemRecord]) -> SystemRecord:
    """Return the mean of records of one machine, each by the number of samples that it stands for.

    Args:
        records: at least one; by time.
    """
    if len(records) == 1:
        return records[0]
    weights = [record.get("samples", 1) for record in records]
    fields = cast(Sequence[dict[str, Any]], records)
    result = _means(fields, weights, leave_out=("node", "gpus", "samples", *_COUNTERS))
    result["node"] = records[-1]["node"]
    for name in _COUNTERS:
        if name in records[-1]:
            result[name] = fields[-1][name]
    by_index: defaultdict[int, list[tuple[GpuSample, int]]] = defaultdict(list)
    for record, weight in zip(records, weights, strict=True):
        for gpu in record.get("gpus", ()):
            by_index[gpu["index"]].append((gpu, weight))
    if by_index:
        result["gpus"] = [
            {
                "index": index,
                **_means([dict(gpu) for gpu, _ in found], [weight for _, weight in found], leave_out=("index",)),
            }
            for index, found in sorted(by_index.items())
        ]
    result["samples"] = sum(weights)
    return cast(SystemRecord, result)


def _means(records: Sequence[dict[str, Any]], weights: Sequence[int], *, leave_out: Iterable[str]) -> dict[str, Any]:
    names = dict.fromkeys(name for record in records for name in record)
    means: dict[str, Any] = {}
    for name in names.keys() - set(leave_out):
        found = [(record[name], weight) for record, weight in zip(records, weights, strict=True) if name in record]
        total = sum(weight for _, weight in found) or 1
        means[name] = round(sum(value * weight for value, weight in found) / total, 3)
    return {name: means[name] for name in names if name in means}
