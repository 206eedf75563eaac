"""The shipped sweeps, each for real: its own file, on the quickstart's model and data, with few and short trials."""

import json
from collections.abc import Mapping

import pytest
import yaml

from support.paths import ROOT
from support.sweeping.small import Place, check_sweep, ended

FILES = sorted(path.stem for path in (ROOT / "jobs" / "sweeps").glob("*.yaml"))
SMALL: Mapping[str, object] = {
    "model": {"model_name_or_path": "builtin:tiny-llama"},
    "data": {"train": [{"path": "rows.jsonl", "format": "prompt_completion"}], "eval": {"from_train": 8}},
    "training.max_length": 32,
    "training.max_steps": 6,
    "training.eval_strategy": "steps",
    "training.eval_steps": 2,
    "training.bf16": False,
}


def run_small(place: Place, name: str) -> None:
    """Run a shipped sweep with its model, data and lengths replaced; only its rungs are rewritten in the file."""
    sweep = yaml.safe_load((ROOT / "jobs" / "sweeps" / f"{name}.yaml").read_text())
    sweep["program"] = str(ROOT / "jobs" / f"{sweep['program']}.yaml")
    if "rungs" in sweep["runner"]:
        sweep["runner"]["rungs"] = [2, 4]
    (place.folder / "shipped.yaml").write_text(yaml.safe_dump(sweep, sort_keys=False))
    changes = [part for key, value in SMALL.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    options = ["--name", name, "--run-cap", "3", "--infra", "local", "--parallel", "2", "--yes", *changes]
    ended(place.start("sweep", "launch", "./shipped.yaml", *options))
    state = check_sweep(place, name)
    assert len(state.trials) == 3
    assert state.ended is not None
    assert state.ended[0] == "succeeded"


@pytest.mark.thorough
@pytest.mark.parametrize("name", FILES)
def test_a_shipped_sweep_finds_a_best_trial(place: Place, name: str) -> None:
    run_small(place, name)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["quickstart-bayes", "quickstart-halving"])
def test_a_quickstart_is_run_as_it_is_with_fewer_trials(place: Place, name: str) -> None:
    printed = ended(place.start("sweep", "launch", name, "--name", name, "--run-cap", "3"))
    state = check_sweep(place, name)
    assert state.ended is not None
    assert state.ended[0] == "succeeded"
    assert "the winning recipe, ready to launch" in printed
