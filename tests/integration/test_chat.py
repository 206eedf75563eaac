"""`runner chat` in the terminal, with an adapter on its base and with a model trained in full."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from runner.recipe.recipe import Evaluate
from runner.storage.open import open_store
from support.forked import Attempts
from support.runs import recipe, submit


def chat(forked: Attempts, run_id: str, *options: str, said: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "runner", "chat", run_id, "--store", forked.store_url, "--cli", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(Path(forked.store_url).parent / "cache")}
    return subprocess.run(command, input=said, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("adapter", [True, False], ids=["adapter", "full"])
def test_each_line_is_answered_by_both_models(forked: Attempts, data: Path, adapter: bool) -> None:
    """Greedily, so that what has been learned is the only difference, and the same line gets the same answer."""
    what = replace(recipe(data, adapter=adapter, max_steps=8, learning_rate=2e-2), evaluate=Evaluate())
    run_id = f"chat-{adapter}".lower()
    submit(open_store(forked.store_url), run_id, what)
    assert forked.run(run_id) == 0, forked.log(run_id)
    done = chat(forked, run_id, "--temperature", "0", "--max-new-tokens", "6", said="Return the\n\nReturn the\n")
    assert done.returncode == 0, done.stderr
    first, again = done.stdout.split("fine-tuned: ")[1:]
    assert first == again, "an empty line begins anew"
    tuned, base = first.split("base: ")
    assert tuned != base
    alone = chat(forked, run_id, "--without-base", "--temperature", "0", "--max-new-tokens", "6", said="Return the")
    assert alone.stdout == f"fine-tuned: {tuned}"


def test_a_run_without_a_model_is_said_so(forked: Attempts, data: Path) -> None:
    submit(open_store(forked.store_url), "chat-pending", recipe(data, adapter=False))
    done = chat(forked, "chat-pending", said="")
    assert done.returncode == 2
    assert "Error: chat-pending: the run has not ended and made no model" in done.stderr
