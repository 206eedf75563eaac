"""The recipe of the README trains, with a small model and files that stand in for the hub's data."""

import json
import os
import subprocess
import sys
from pathlib import Path

from support.doc_data import documented_recipes, with_stand_ins

SMALL = (
    "model.model_name_or_path=builtin:tiny-llama",
    "training.max_steps=4",
    "training.eval_steps=2",
    "training.max_length=64",
    "checkpoint.save_steps=2",
    "evaluate.max_new_tokens=4",
    "data.train.0.sample=40",
    "data.train.1.sample=40",
    "export.gguf=[]",
)


def test_the_recipe_of_the_readme_trains_to_its_end(tmp_path: Path) -> None:
    [text] = [text for page, text in documented_recipes() if page == "README.md"]
    (tmp_path / "recipe.yaml").write_text(with_stand_ins(text, tmp_path))
    settings = [part for setting in SMALL for part in ("--set", setting)]
    command = [sys.executable, "-m", "runner", "launch", "./recipe.yaml", "--name", "readme", "--store", "store"]
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [*command, *settings], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "data.train.1: taken as conversations, like the rest of the data" in done.stderr
    assert "data.train.0: of these columns nothing is made: source, score." in done.stderr
    result = json.loads((tmp_path / "store/runs/readme/result.json").read_text())
    assert result["step"] == 4
    assert result["dropped_rows"] == []
