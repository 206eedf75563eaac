"""Whoever can write to a store cannot have altered rewards run, nor altered rows trained on, by altering the files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.control.launching.submit import submit
from runner.recipe.loading.load import load_recipe
from runner.runs.submission.prepare import prepare
from runner.runs.submission.run_json import run_json
from runner.storage.local import LocalStore

RECIPE = """
name: small
method: grpo
model: {model_name_or_path: "builtin:tiny-llama"}
data: {train: [{path: rows.jsonl}]}
training: {max_steps: 1, effective_batch_size: 2, num_generations: 2, reward_funcs: ["rewards.py:right"]}
"""


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["rewards.py", "rows.jsonl"])
def test_an_input_that_was_altered_in_the_store_ends_the_run_and_is_not_used(tmp_path: Path, name: str) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "Say a"}\n{"prompt": "Say b"}\n')
    (tmp_path / "rewards.py").write_text("def right(completions, **columns):\n    return [0.0 for _ in completions]\n")
    prepared = prepare(load_recipe("./recipe.yaml", cwd=tmp_path))
    store = LocalStore(tmp_path / "store")
    document = run_json(
        run_id="run",
        recipe=prepared.recipe,
        settings=prepared.settings,
        recipe_digest=prepared.digest,
        git_revision=None,
        created_at="2026-01-01T00:00:00+00:00",
    )
    assert submit(store, document, prepared.inputs)
    [altered] = (store.root / "runs/run/inputs").rglob(name)
    marker = tmp_path / "ran"
    altered.write_text(altered.read_text() + f"open({str(marker)!r}, 'w')\n" * (name == "rewards.py") + "\n")
    environment = {f"XDG_{kind}_HOME": str(tmp_path / kind) for kind in ("STATE", "CACHE", "DATA")}
    done = subprocess.run(
        [sys.executable, "-m", "runner", "resume", "run", "--store", store.url],
        env={**os.environ, **environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stderr
    assert f"{name}: it was altered after the launch, and is not used" in done.stderr
    assert "Traceback" not in done.stderr
    assert not marker.exists()
    assert not list((tmp_path / "STATE").rglob(name))
