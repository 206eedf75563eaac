"""A hub model that has other weights when a run goes on than when it began is noticed, and said in the run's log."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runner.runs.layout import attempt_key
from runner.runs.records import exists
from runner.storage.local import LocalStore
from runner.train.builtin.catalog import materialize
from support.bench import wait_until

RECIPE = """
method: sft
model: {model_name_or_path: somebody/model}
data: {train: [{path: rows.jsonl}]}
training: {max_steps: 100000, per_device_train_batch_size: 2, max_length: 32}
checkpoint: {save_steps: 5}
"""
COMMITS = ("a" * 40, "b" * 40)


def cached(hub: Path, folder: Path) -> None:
    """Two commits of a model in the hub's cache; `main` stands for the first."""
    repository = hub / "models--somebody--model"
    for commit in COMMITS:
        shutil.copytree(folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(COMMITS[0])


@pytest.mark.thorough
def test_a_model_that_changed_between_two_attempts_is_named_with_both_commits(tmp_path: Path) -> None:
    cached(tmp_path / "hub", Path(materialize("builtin:tiny-llama", tmp_path / "model")))
    rows = [json.dumps({"prompt": f"What is {n}?", "completion": f"{n} is a number."}) for n in range(40)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows) + "\n")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    store = LocalStore(tmp_path / "store")
    own = {f"XDG_{name}_HOME": str(tmp_path / name.lower()) for name in ("STATE", "CACHE", "DATA")}
    own |= {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}

    def until_it_has_looked(number: int, *words: str) -> None:
        """Start an attempt, and stop it once it has recorded what it trains with and looked at the record before."""
        command = [sys.executable, "-m", "runner", *words, "--store", store.url]
        with (tmp_path / "said").open("ab") as said:
            process = subprocess.Popen(
                command, cwd=tmp_path, env={**os.environ, **own}, stdout=said, stderr=subprocess.STDOUT
            )
        try:
            key = attempt_key("run", number, "inputs-sft")
            wait_until(lambda: process.poll() is not None or exists(store, key), seconds=300)
            assert process.poll() is None, (tmp_path / "said").read_text()
            if number > 1:
                wait_until(lambda: "since attempt" in (tmp_path / "said").read_text(), seconds=300)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=300)

    until_it_has_looked(1, "launch", "./recipe.yaml", "--name", "run")
    (tmp_path / "hub/models--somebody--model/refs/main").write_text(COMMITS[1])
    until_it_has_looked(2, "resume", "run")
    sentence = f"the hub's commit of somebody/model ({COMMITS[0][:12]}, now {COMMITS[1][:12]})"
    assert f"since attempt 1 of this run there have changed: {sentence}" in (tmp_path / "said").read_text()
