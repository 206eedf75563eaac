"""A run's checkpoints and artifacts are listed with all that one chooses them by."""

import json
from pathlib import Path

import pytest

from runner.control.results.artifacts import list_artifacts
from runner.control.results.checkpoints import list_checkpoints
from runner.runs.chunks import ChunkWriter
from runner.runs.layout import CheckpointName, checkpoint_prefix, run_key
from runner.storage.commit import digest
from runner.storage.local import LocalStore
from runner.storage.manifest import Manifest
from runner.storage.store import Store
from support.bench import Bench
from support.stored import TOKEN, artifact, attempted, checkpoint, ended, put_folder, submitted


def test_checkpoints_come_newest_first_with_metric_size_and_the_best(store: Store, bench: Bench) -> None:
    """In a folder, and on S3 servers of several kinds."""
    submitted(store, "run", training={"max_steps": 10, "metric_for_best_model": "eval_loss"})
    attempted(store, "run")
    metrics = ChunkWriter(store, "run", "metrics", TOKEN)
    for step, loss in ((2, 3.0), (4, 2.0), (6, 2.5)):
        record = {"kind": "train", "stage": "sft", "step": step, "loss": loss + 1}
        evaluation = {"kind": "eval", "phase": "during", "stage": "sft", "step": step, "eval_loss": loss}
        metrics.append(json.dumps(record) + "\n" + json.dumps(evaluation) + "\n")
    metrics.flush(final=True)
    for step in (2, 4, 6):
        checkpoint(store, "run", step, best=min(step, 4), value=2.0 if step > 2 else 3.0)
    found = list_checkpoints(store, "run")
    assert [(one.name.step, one.metric, one.value, one.loss, one.is_best) for one in found] == [
        (6, "eval_loss", 2.5, 3.5, False),
        (4, "eval_loss", 2.0, 3.0, True),
        (2, "eval_loss", 3.0, 4.0, False),
    ]
    assert all(one.size > 1000 and one.has_weights and one.problem is None for one in found)


def test_a_damaged_checkpoint_and_split_weights_are_said(bench: Bench) -> None:
    submitted(bench.store, "run")
    attempted(bench.store, "run")
    torn = checkpoint(bench.store, "run", 2)
    bench.store.put(run_key("run", f"checkpoints/{torn}/model.safetensors"), b"short")
    put_folder(bench.store, checkpoint_prefix("run", CheckpointName("sft", 4, TOKEN)), {"latest": b"global_step4"})
    shown = bench.runner("checkpoints", "run").stdout
    assert "5 bytes instead of 1000" in shown
    assert "weights split" in shown
    rows = json.loads(bench.runner("checkpoints", "run", "--json").stdout)
    assert [(row["step"], row["last"], row["whole_weights"], bool(row["problem"])) for row in rows] == [
        (4, True, False, False),
        (2, False, True, True),
    ]


def test_artifacts_are_listed_with_digests_and_addresses_that_hold(bench: Bench) -> None:
    submitted(bench.store, "run")
    ended(bench.store, "run", artifacts={"model": artifact(bench.store, "run", size=3000)})
    artifact(bench.store, "run", "merged", token="export-abcd")
    (merged, model) = json.loads(bench.runner("artifacts", "run", "--json").stdout)
    assert (merged["name"], model["name"], model["bytes"]) == ("merged", "model", 3002)
    for file in model["files"]:
        assert digest(Path(file["url"])) == file["blake3"]
        assert Path(file["url"]).stat().st_size == file["bytes"]
    assert isinstance(bench.store, LocalStore)
    assert f"{bench.store.root}/runs/run/artifacts/model/0001-aaaa/" in bench.runner("artifacts", "run").stdout
    assert model["files"][0]["blake3"] in bench.runner("artifacts", "run", "--files").stdout


def test_a_damaged_manifest_is_said(bench: Bench) -> None:
    submitted(bench.store, "run")
    key = artifact(bench.store, "run")
    ended(bench.store, "run", artifacts={"model": key})
    bench.store.put(run_key("run", f"{key}manifest.json"), Manifest(()).to_json()[:-10])
    (one,) = list_artifacts(bench.store, "run")
    assert one.problem


@pytest.mark.parametrize("command", ["checkpoints", "artifacts"])
def test_a_run_without_any_has_an_empty_list(bench: Bench, command: str) -> None:
    submitted(bench.store, "run")
    assert json.loads(bench.runner(command, "run", "--json").stdout) == []
    assert "has no" in bench.runner(command, "run").stderr
