"""Small runs to kill: recipes, and what of a finished run must be the same however often it was killed."""

import json
from pathlib import Path
from typing import Any

import torch
from blake3 import blake3

from runner.recipe.recipe import Checkpoint, Data, DataSource, Evaluate, Recipe
from runner.runs.attempts import attempts
from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.layout import run_key
from runner.runs.metrics import read_metrics
from runner.storage.open import open_store
from runner.storage.store import Store
from support.forked import Attempts, Moment

STEPS = 12

NEVER_EVALUATED = {
    "eval_strategy": "no",
    "load_best_model_at_end": False,
    "early_stopping_patience": None,
    "metric_for_best_model": None,
}
"""What switches off in `recipe` all that evaluates while training; what is None is left out."""

# What depends on the clock and not on the training.
_TIMES = ("time", "tokens_per_second", "step_time", "samples_per_second", "eval_samples_per_second")


def recipe(data: Path, *, adapter: bool, **training: Any) -> Recipe:
    """A dozen steps of supervised fine-tuning with all that has state: dropout, evaluation, best model, patience."""
    return Recipe(
        name="small",
        method="sft",
        model={"model_name_or_path": "builtin:tiny-llama"},
        adapter={"r": 4, "lora_dropout": 0.2, "target_modules": "all-linear"} if adapter else None,
        data=Data(train=(DataSource(path=str(data), format="prompt_completion"),), eval_from_train=8),
        training={
            "max_steps": STEPS,
            "per_device_train_batch_size": 2,
            "gradient_accumulation_steps": 2,
            "learning_rate": 2e-3,
            "max_length": 32,
            "gradient_checkpointing": False,
            "eval_strategy": "steps",
            "eval_steps": 4,
            "per_device_eval_batch_size": 4,
            "load_best_model_at_end": True,
            # The wrong way round, so that the best model is not the last one.
            "metric_for_best_model": "loss",
            "greater_is_better": True,
            "early_stopping_patience": 3,
            "logging_steps": 5,
            "seed": 3,
            "full_determinism": torch.cuda.is_available(),
            **training,
        },
        checkpoint=Checkpoint(save_steps=3, save_minutes=None, save_total_limit=2),
        evaluate=Evaluate(before_and_after=True, prompts=("Return the",), max_new_tokens=4),
    )


def submit(store: Store, run_id: str, what: Recipe, **fields: Any) -> None:
    """What `runner launch` writes for a run; `fields` are further ones of ``run.json``."""
    record = {"version": 1, "run_id": run_id, "name": what.name, "recipe": what.to_mapping()}
    record |= {"infra": "local", "accelerators": None, "created_at": "2026-01-01T00:00:00+00:00", **fields}
    assert store.create(run_key(run_id, "run.json"), json.dumps(record).encode())


def outcome(store: Store, run_id: str) -> dict[str, Any]:
    """All of a finished run that must not depend on how often it was killed."""
    result = json.loads(store.get(run_key(run_id, "result.json")))
    prefix = run_key(run_id, result["artifacts"]["model"])
    weights = {
        info.key.removeprefix(prefix): blake3(store.get(info.key)).hexdigest()
        for info in store.objects(prefix)
        if info.key.endswith(".safetensors")
    }
    records = read_metrics(store, run_id)
    for record in records:
        for name in _TIMES:
            record.pop(name, None)
    for phase in ("before", "after"):
        (result[phase] or {}).pop("samples_per_second", None)
    kept = ("state", "step", "max_steps", "before", "after", "generations", "best")
    return {"weights": weights, "metrics": records, **{name: result[name] for name in kept}}


def assert_survives(forked: Attempts, name: str, what: Recipe, *moments: Moment) -> dict[str, Any]:
    """Run `what` once left alone and once killed at these moments, one attempt each; both must end the same.

    Args:
        name: what the ids of the two runs begin with.
        moments: let the first wait for a checkpoint (`saves`), or nothing proves that the next attempt resumed.

    Returns:
        What both ended with.
    """
    store = open_store(forked.store_url)
    calm, killed = f"{name}-calm", f"{name}-killed"
    submit(store, calm, what)
    assert forked.run(calm) == 0, forked.log(calm)
    expected = outcome(store, calm)
    check_metrics(expected["metrics"], steps=expected["step"])
    submit(store, killed, what)
    for moment in moments:
        assert forked.run(killed, moment) == 75, forked.log(killed)
        if any(moment.saves for moment in moments):
            assert checkpoints(store, killed), "it goes on from somewhere"
    assert forked.run(killed) == 0, forked.log(killed)
    assert len(attempts(store, killed)) == len(moments) + 1
    assert_same(outcome(store, killed), expected)
    return expected


def check_metrics(records: list[dict[str, Any]], steps: int = STEPS) -> None:
    """One record for each step, none twice, none missing."""
    trained = [record["step"] for record in records if record["kind"] == "train"]
    assert trained == list(range(1, steps + 1))


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Two outcomes are equal; if not, say where first."""
    for name in other:
        if name == "metrics":
            for mine, theirs in zip(one[name], other[name], strict=True):
                different = {
                    key: (mine.get(key), theirs.get(key)) for key in mine | theirs if mine.get(key) != theirs.get(key)
                }
                assert not different, f"{theirs['kind']} record of step {theirs['step']}: {different}"
        assert one[name] == other[name]
