"""Metrics and logs arrive in pieces and are read as if they had not."""

import json
import threading
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.runs.attempts import Claim, claim_attempt, write_restored
from runner.runs.chunks import ChunkWriter
from runner.runs.layout import CheckpointName, chunk_key
from runner.runs.logs import read_log
from runner.runs.metrics import read_metrics
from runner.storage.manifest import Damaged
from runner.storage.store import Store, StoreUnavailable
from support.fakes.memory_store import MemoryStore


def begin(store: Store, restored: CheckpointName | None = None) -> Claim:
    claim = claim_attempt(store, "r", {})
    write_restored(store, claim, restored)
    return claim


def train(step: int, **values: Any) -> str:
    return json.dumps({"kind": "train", "stage": "sft", "step": step, **values}) + "\n"


def evaluation(step: int, phase: str, **values: Any) -> str:
    return json.dumps({"kind": "eval", "stage": "sft", "step": step, "phase": phase, **values}) + "\n"


def write(store: Store, claim: Claim, *lines: str) -> None:
    writer = ChunkWriter(store, "r", "metrics", claim.token)
    for line in lines:
        writer.append(line)
        writer.flush()


@pytest.mark.parametrize("lane", ["local", "moto"])
def test_chunks_are_numbered_from_one(store: Store) -> None:
    """Nothing new, no chunk."""
    claim = begin(store)
    writer = ChunkWriter(store, "r", "logs", claim.token)
    writer.flush()
    for text in ("one\n", "two\n"):
        writer.append(text)
        writer.flush()
        writer.flush()
    keys = [info.key for info in store.objects("runs/r/logs/")]
    assert keys == [chunk_key("r", "logs", claim.token, sequence) for sequence in (1, 2)]
    assert read_log(store, "r")[0] == "one\ntwo\n"


def test_a_failed_flush_loses_nothing(memory: MemoryStore) -> None:
    """What was appended meanwhile comes after it, and the number is not skipped."""
    away = [True]

    def step(request: str) -> None:
        if away[0] and request.startswith("create"):
            raise StoreUnavailable("away")

    claim = begin(memory)
    writer = ChunkWriter(memory.seen_by(step), "r", "logs", claim.token)
    for text in ("one\n", "two\n"):
        writer.append(text)
        with pytest.raises(StoreUnavailable):
            writer.flush()
    away[0] = False
    writer.append("three\n")
    writer.flush()
    assert read_log(memory, "r")[0] == "one\ntwo\nthree\n"
    assert [info.key[-10:] for info in memory.objects("runs/r/logs/")] == ["000001.txt", "000002.txt"]


def test_a_flush_whose_answer_was_lost_is_not_doubled(memory: MemoryStore) -> None:
    """The chunk stands there already, and is recognized."""

    class LostAnswer(MemoryStore):
        lost = False

        def create(self, key: str, data: bytes) -> bool:
            created = super().create(key, data)
            if not self.lost:
                self.lost = True
                raise StoreUnavailable("reset")
            return created

    claim = begin(memory)
    writer = ChunkWriter(LostAnswer(data=memory.data), "r", "logs", claim.token)
    writer.append("one\n")
    with pytest.raises(StoreUnavailable):
        writer.flush()
    writer.append("two\n")
    writer.flush()
    assert read_log(memory, "r")[0] == "one\ntwo\n"


def test_many_threads_may_write(memory: MemoryStore) -> None:
    """Each line once, each whole, each thread's in its order."""
    claim = begin(memory)
    writer = ChunkWriter(memory, "r", "logs", claim.token)

    def work(number: int) -> None:
        for line in range(200):
            writer.append(f"{number} {line}\n")
            if line % 7 == number:
                writer.flush()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.flush()
    lines = [tuple(map(int, line.split())) for line in read_log(memory, "r")[0].splitlines()]
    assert sorted(lines) == [(number, line) for number in range(5) for line in range(200)]
    for number in range(5):
        assert [line for owner, line in lines if owner == number] == list(range(200))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), st.lists(st.integers(0, 120), max_size=6))
def test_no_character_is_torn(text: str, cuts: list[int]) -> None:
    """However the output of the worker happens to be cut, each call returns whole characters."""
    store = MemoryStore()
    claim = begin(store)
    writer = ChunkWriter(store, "r", "logs", claim.token)
    data = text.encode()
    read, cursor = "", None
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    for start, end in pairwise(edges):
        writer.append(data[start:end])
        writer.flush()
        new, cursor = read_log(store, "r", cursor)
        assert "\ufffd" not in new or "\ufffd" in text
        read += new
    assert read == text


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=6))
def test_no_byte_is_lost(data: bytes, cuts: list[int]) -> None:
    """What is no text comes with replacement characters, and in full."""
    store = MemoryStore()
    claim = begin(store)
    writer = ChunkWriter(store, "r", "logs", claim.token)
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    for start, end in pairwise(edges):
        writer.append(data[start:end])
        writer.flush()
    writer.flush(final=True)
    assert b"".join(store.get(info.key) for info in store.objects("runs/r/logs/")) == data


def test_a_log_is_followed_across_attempts(memory: MemoryStore) -> None:
    """All of them in order, the superseded ones too; a poll reads only what is new."""
    requests: list[str] = []
    watched = memory.seen_by(requests.append)
    one, two = begin(memory), begin(memory)
    writers = {claim: ChunkWriter(memory, "r", "logs", claim.token) for claim in (one, two)}

    def say(claim: Claim, text: str) -> None:
        writers[claim].append(text)
        writers[claim].flush()

    say(one, "1a\n")
    say(two, "2a\n")
    text, cursor = read_log(watched, "r")
    assert text == "1a\n2a\n"
    say(one, "1b\n")
    say(two, "2b\n")
    requests.clear()
    text, cursor = read_log(watched, "r", cursor)
    assert text == "1b\n2b\n"
    assert len(requests) == 3
    requests.clear()
    assert read_log(watched, "r", cursor) == ("", cursor)
    assert len(requests) == 1


def test_one_record_a_step_along_the_lineage(memory: MemoryStore) -> None:
    """What an attempt logged after the checkpoint that its successor restored is not counted."""
    one = begin(memory)
    write(memory, one, *(train(step, by="one") for step in range(1, 8)))
    two = begin(memory, CheckpointName("sft", 5, one.token))
    write(memory, two, *(train(step, by="two") for step in range(6, 9)))
    records = read_metrics(memory, "r")
    assert [(record["step"], record["by"]) for record in records] == [
        *((step, "one") for step in range(1, 6)),
        *((step, "two") for step in range(6, 9)),
    ]


def test_a_superseded_attempts_late_metrics_are_not_read(memory: MemoryStore) -> None:
    """It goes on training for a while before it notices."""
    one = begin(memory)
    two = begin(memory)
    write(memory, two, train(1, by="two"))
    write(memory, one, train(1, by="one"), train(2, by="one"))
    assert [record["by"] for record in read_metrics(memory, "r")] == ["two"]


def test_evaluations_stand_where_they_were_made(memory: MemoryStore) -> None:
    """Before training, after the step's own record, after training; each once, though a resumed attempt repeats it."""
    one = begin(memory)
    write(
        memory,
        one,
        evaluation(0, "before", by="one"),
        train(1),
        train(2),
        evaluation(2, "during", by="one"),
        evaluation(2, "after", by="one"),
    )
    two = begin(memory, CheckpointName("sft", 2, one.token))
    write(memory, two, evaluation(2, "after", by="two"))
    records = read_metrics(memory, "r")
    found = [(record["kind"], record["step"], record.get("phase"), record.get("by")) for record in records]
    assert found == [
        ("eval", 0, "before", "one"),
        ("train", 1, None, None),
        ("train", 2, None, None),
        ("eval", 2, "during", "one"),
        ("eval", 2, "after", "one"),
    ]


def test_who_asks_again_reads_only_what_is_new(memory: MemoryStore) -> None:
    """Chunks never change."""
    requests: list[str] = []
    watched = memory.seen_by(requests.append)
    cache: dict[str, bytes] = {}
    claim = begin(memory)
    write(memory, claim, train(1), train(2))
    assert len(read_metrics(watched, "r", cache=cache)) == 2
    requests.clear()
    assert len(read_metrics(watched, "r", cache=cache)) == 2
    assert not [request for request in requests if "/metrics/" in request and request.startswith("get")]


@pytest.mark.parametrize(
    "data", [b"{", b"[]", b"7", b'{"kind": "train"}', b'{"kind": "train", "stage": "sft", "step": "1"}', b"\xff"]
)
def test_a_damaged_chunk_is_named(memory: MemoryStore, data: bytes) -> None:
    """A curve with holes would pass for a whole one."""
    claim = begin(memory)
    memory.put(chunk_key("r", "metrics", claim.token, 1), data)
    with pytest.raises(Damaged, match=chunk_key("r", "metrics", claim.token, 1)):
        read_metrics(memory, "r")


def test_a_missing_chunk_is_named(memory: MemoryStore) -> None:
    """As above; a missing last one cannot be told from one that was never written."""
    claim = begin(memory)
    write(memory, claim, train(1), train(2), train(3))
    memory.delete([chunk_key("r", "metrics", claim.token, 2)])
    with pytest.raises(Damaged, match=r"000002\.jsonl: missing"):
        read_metrics(memory, "r")


def test_a_run_without_metrics_has_none(memory: MemoryStore) -> None:
    """Before its first attempt, and before its first step."""
    assert read_metrics(memory, "r") == []
    begin(memory)
    assert read_metrics(memory, "r") == []
    assert read_log(memory, "r") == ("", {})
