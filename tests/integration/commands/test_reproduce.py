"""`runner reproduce` launches a run again, without its recipe's file, and says whether the result is the same."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.thorough

RECIPE = """
method: sft
model: {model_name_or_path: builtin:tiny-llama}
data: {train: [{path: rows.jsonl}]}
training: {max_steps: 3, per_device_train_batch_size: 2, learning_rate: 1.0e-3, max_length: 32}
"""


def runner(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """A command of `runner` in this folder."""
    own = {f"XDG_{name}_HOME": str(folder / name.lower()) for name in ("STATE", "CACHE", "DATA")}
    command = [sys.executable, "-m", "runner", *words, "--store", str(folder / "store")]
    environment = {**os.environ, **own, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


def test_it_is_identical_or_the_first_step_and_the_cause_are_named(tmp_path: Path) -> None:
    rows = [json.dumps({"prompt": f"What is {n}?", "completion": f"{n} is a number."}) for n in range(40)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows) + "\n")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    done = runner(tmp_path, "launch", "./recipe.yaml", "--name", "first")
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "recipe.yaml").unlink()
    (tmp_path / "rows.jsonl").unlink()

    again = runner(tmp_path, "reproduce", "first", "--name", "again", "--json")
    assert again.returncode == 0, again.stdout + again.stderr
    said = json.loads(again.stdout)
    assert said["identical"] is True
    assert said["steps_compared"] == 3
    lineage = json.loads((tmp_path / "store/runs/again/run.json").read_text())["lineage"]
    assert (lineage["kind"], lineage["run_id"]) == ("reproduce", "first")

    (tmp_path / "rows.jsonl").write_text("\n".join(rows) + "\n")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    done = runner(tmp_path, "launch", "./recipe.yaml", "--name", "other", "--set", "training.learning_rate=2.0e-3")
    assert done.returncode == 0, done.stdout + done.stderr
    compared = runner(tmp_path, "reproduce", "first", "--against", "other", "--json")
    assert compared.returncode == 1, compared.stdout + compared.stderr
    said = json.loads(compared.stdout)
    assert said["identical"] is False
    assert said["first_difference"]["metric"] == "learning_rate"
    assert said["first_difference"]["step"] == 1
    assert "learning_rate" in json.dumps(said["differences"])
