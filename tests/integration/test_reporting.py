"""`report_to`: W&B without a key, and TensorBoard; one run in them across attempts, on any machine."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto import wandb_internal_pb2

from runner.control.pull import pull
from runner.storage.open import open_store
from support.forked import Attempts, Moment
from support.runs import recipe, submit

LOGGED = [1, 2, 4, 6, 8, 10, 12]
"""Every second step, and the first."""
BLOCK_BYTES = 32768
FILE_HEADER_BYTES = 7


def wandb_records(content: bytes) -> Iterator[bytes]:
    """The records of a ``.wandb`` file: LevelDB's log format (its ``doc/log_format.md``) after a header of W&B's."""
    position, record = FILE_HEADER_BYTES, b""
    while position + 7 <= len(content):
        if BLOCK_BYTES - position % BLOCK_BYTES < 7:
            position += BLOCK_BYTES - position % BLOCK_BYTES
            continue
        _checksum, length, kind = struct.unpack_from("<IHB", content, position)
        record += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield record
            record = b""


def offline_history(file: Path) -> list[dict[str, Any]]:
    """What W&B wrote into one of its files while offline, a mapping for each call of `wandb.log`."""
    found = []
    for data in wandb_records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            found.append({item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items})
    return found


@pytest.fixture
def reported(forked: Attempts, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a run has left for W&B and TensorBoard that was killed once."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    store = open_store(forked.store_url)
    submit(store, "told", recipe(data, adapter=False, report_to=["wandb", "tensorboard"], logging_steps=2))
    assert forked.run("told", Moment("runner.train.methods.sft:ResumableSFTTrainer.training_step", 15)) == 75, (
        forked.log("told")
    )
    elsewhere = Attempts(forked.store_url, tmp_path / "another machine")
    elsewhere.folder.mkdir()
    assert elsewhere.run("told") == 0, elsewhere.log("told")
    pull(store, "told", tmp_path / "pulled", say=print)
    return tmp_path / "pulled" / "artifacts"


def test_the_last_attempts_files_are_those_of_a_run_that_was_never_interrupted(reported: Path) -> None:
    """Also when the first attempt's machine is gone, and what W&B had not written yet when it was killed."""
    (file,) = (reported / "wandb").rglob("*.wandb")
    assert file.name == "run-told.wandb", "the run's id is W&B's id"
    history = offline_history(file)
    assert [record["train/global_step"] for record in history if "train/loss" in record] == LOGGED
    assert [record["train/global_step"] for record in history if "eval/loss" in record] == [0, 4, 8, 12, 12]

    accumulator = EventAccumulator(str(reported / "tensorboard"))
    accumulator.Reload()
    assert [event.step for event in accumulator.Scalars("train/loss")] == LOGGED
    assert [event.step for event in accumulator.Scalars("eval/loss")] == [0, 4, 8, 12, 12]
