"""`report_to`: W&B without a key, and TensorBoard; one run in them across attempts, on any machine."""

import json
import struct
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto import wandb_internal_pb2

from runner.control.results.pull import pull
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

    # What is printed is in the run's log, where the values of secrets are hidden; W&B would keep it as it is.
    assert not list((reported / "wandb").rglob("output.log"))
    kinds = {
        wandb_internal_pb2.Record.FromString(data).WhichOneof("record_type")
        for data in wandb_records(file.read_bytes())
    }
    assert not kinds & {"output", "output_raw"}

    accumulator = EventAccumulator(str(reported / "tensorboard"))
    accumulator.Reload()
    assert [event.step for event in accumulator.Scalars("train/loss")] == LOGGED
    assert [event.step for event in accumulator.Scalars("eval/loss")] == [0, 4, 8, 12, 12]


def test_the_trials_of_a_sweep_are_one_group_of_wandbs_and_show_what_was_drawn(
    forked: Attempts, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_RUN_ID", "WANDB_RUN_GROUP"):
        monkeypatch.delenv(name, raising=False)
    store = open_store(forked.store_url)
    drawn = {"training.learning_rate": 0.002, "lora": {"adapter.r": 4}}
    what = recipe(data, adapter=True, report_to=["wandb"], max_steps=4)
    submit(store, "search-0007", what, sweep={"sweep_id": "search", "trial": 7, "parameters": drawn})
    assert forked.run("search-0007") == 0, forked.log("search-0007")
    pull(store, "search-0007", tmp_path / "pulled", say=print)
    (file,) = (tmp_path / "pulled/artifacts/wandb").rglob("*.wandb")
    records = [wandb_internal_pb2.Record.FromString(data) for data in wandb_records(file.read_bytes())]
    (run,) = (record.run for record in records if record.WhichOneof("record_type") == "run")
    assert (run.run_group, run.display_name) == ("search", "search-0007")
    updates = [*run.config.update, *(item for record in records for item in record.config.update)]
    config = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in updates}
    assert config["training.learning_rate"] == 0.002
    assert config["lora"] == {"adapter.r": 4}
    assert config["learning_rate"] == 0.002, "transformers' own settings are there as well"


class _FrontPageOnly(BaseHTTPRequestHandler):
    """W&B's server on a bad day: its front page is there, and every request to its API fails."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_POST(self) -> None:
        self.send_response(500)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.mark.parametrize("front_page", [False, pytest.param(True, marks=pytest.mark.thorough)])
def test_a_tracker_that_is_away_costs_seconds_and_not_the_training(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, front_page: bool
) -> None:
    """By itself W&B tries for 100 s, and ends the training with a `CommError`; here it goes on offline."""
    for name in ("WANDB_MODE", "WANDB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _FrontPageOnly)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port if front_page else 9}"
    forked = Attempts(str(tmp_path / "store"), tmp_path, {"WANDB_BASE_URL": url, "WANDB_API_KEY": "0" * 40})
    store = open_store(forked.store_url)
    submit(store, "away", recipe(data, adapter=False, report_to=["wandb"], logging_steps=2))
    began = time.monotonic()
    assert forked.run("away") == 0, forked.log("away")
    assert time.monotonic() - began < (75 if front_page else 40)
    said = forked.log("away")
    assert "offline" in said
    assert "report_to: wandb failed" not in said
    pull(store, "away", tmp_path / "pulled", say=print)
    (file,) = (tmp_path / "pulled" / "artifacts" / "wandb").rglob("offline-run-*/*.wandb")
    history = offline_history(file)
    assert [record["train/global_step"] for record in history if "train/loss" in record] == LOGGED
    server.shutdown()
