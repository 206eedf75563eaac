"""`runner metrics` of several runs, and of their machines."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from runner.cli.main import cli
from runner.runs.attempts import attempts
from runner.runs.chunks import ChunkWriter
from runner.runs.layout import chunk_key
from runner.storage.open import open_store
from runner.storage.store import Store
from support import stored
from support.compared import trained


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two runs of the same recipe, one of which has samples of its machine."""
    store = open_store(str(tmp_path / "store"))
    trained(store, tmp_path, "fast", losses=[4.0, 2.0], evaluations={0: 4.0, 2: 1.5})
    trained(store, tmp_path, "slow", losses=[4.0, 3.0, 2.5], evaluations={0: 4.0, 3: 2.25})
    [attempt] = attempts(store, "fast")
    chunks = ChunkWriter(store, "fast", "system", attempt.token, most_bytes=1 << 20)
    gpus = [{"index": 0, "utilization_percent": 87.5, "memory_gib": 11.25, "memory_total_gib": 24.0}]
    for time in (0.0, 60.0):
        sample = {"time": time, "node": 0, "cpu_percent": 12.5, "memory_gib": 3.0, "memory_percent": 25.0, "gpus": gpus}
        chunks.append(json.dumps(sample) + "\n")
    chunks.flush()
    return store


def metrics(store: Store, *words: str) -> Result:
    return CliRunner().invoke(cli, ["metrics", *words, "--store", store.url])


def test_of_several_runs_programs_get_an_object_by_run(store: Store) -> None:
    records = json.loads(metrics(store, "fast", "slow", "--json").stdout)
    assert list(records) == ["fast", "slow"]
    assert [record["loss"] for record in records["slow"] if record["kind"] == "train"] == [4.0, 3.0, 2.5]
    rows = list(csv.DictReader(io.StringIO(metrics(store, "fast", "slow", "--csv").stdout)))
    assert {row["run_id"] for row in rows} == {"fast", "slow"}
    assert [row["eval_loss"] for row in rows if row["run_id"] == "fast" and row["kind"] == "eval"] == ["4.0", "1.5"]


def test_of_several_runs_people_get_a_block_or_a_curve_each(store: Store) -> None:
    first, second = metrics(store, "fast", "slow").stdout.split("\n\n")
    assert first.startswith("fast\n")
    assert second.startswith("slow\n")
    plot = metrics(store, "fast", "slow", "--plot", "--metric", "eval_loss").stdout
    assert plot.startswith("eval_loss\n")
    assert plot.splitlines()[-1].split() == ["A", "fast", "eval_loss", "B", "slow", "eval_loss"]


def test_a_metric_that_nobody_recorded_is_refused_with_those_that_are_near(store: Store) -> None:
    result = metrics(store, "fast", "--metric", "eval_los")
    assert result.exit_code == 2
    assert "no metric 'eval_los' was recorded" in result.stderr
    assert "did you mean eval_loss" in result.stderr


def test_what_the_machines_did_is_shown(store: Store) -> None:
    table = metrics(store, "fast", "--system").stdout
    assert "GPU %" in table
    assert "87.5 " in table
    [first, second] = json.loads(metrics(store, "fast", "--system", "--json").stdout)
    assert second["time"] - first["time"] == 60.0
    [row, _] = csv.DictReader(io.StringIO(metrics(store, "fast", "--system", "--csv").stdout))
    assert row["gpu0_memory_gib"] == "11.25"
    assert "GPU memory, GiB" in metrics(store, "fast", "--system", "--plot").stdout
    followed = metrics(store, "fast", "--system", "-f").stdout.splitlines()
    assert followed[0].split() == table.splitlines()[0].split()
    assert [line.split() for line in followed[1:]] == [line.split() for line in table.splitlines()[1:]]
    assert metrics(store, "fast", "--system", "-f", "--tail", "1").stdout.splitlines() == [followed[0], followed[2]]
    assert "GPU memory, GiB" in metrics(store, "fast", "--system", "-f", "--plot").stdout
    nothing = metrics(store, "slow", "--system")
    assert nothing.exit_code == 0
    assert "slow has no records of its machines" in nothing.stderr


def test_samples_are_followed_as_they_come_also_those_of_a_machine_that_is_behind(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    stored.running(store, "run")

    def sample(sequence: int, time: float, node: int) -> None:
        record = {"time": time, "node": node, "cpu_percent": 50.0, "memory_gib": 1.0, "memory_percent": 2.0}
        store.create(chunk_key("run", "system", stored.TOKEN, sequence), json.dumps(record).encode() + b"\n")

    process = subprocess.Popen(
        [sys.executable, "-m", "runner", "metrics", "run", "--system", "-f", "--store", store.url],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    assert "CPU %" in process.stdout.readline()
    assert "00:00:01" in process.stdout.readline()
    sample(2, 7.0, 0)
    assert "00:00:07" in process.stdout.readline()
    sample(1_000_001, 5.0, 1)
    assert "00:00:05" in process.stdout.readline()
    stored.ended(store, "run")
    assert process.communicate(timeout=120)[0] == ""
    assert process.returncode == 0
