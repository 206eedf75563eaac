"""Each shipped recipe runs to its end in small: the same file, with a model and rows that are made on the spot."""

import json
from pathlib import Path
from typing import Any

import pytest

from integration.forked import Attempts
from integration.runs import check_metrics
from runner.launch.prepare import prepare
from runner.spec.at_hand import recipes_at_hand
from runner.spec.layout import run_key
from runner.spec.load import load_recipe
from runner.storage.chunks import read_metrics
from runner.storage.open import open_store
from runner.train.builtin import builtin_dataset

STEPS = 4
TINY = (
    "model.model_name_or_path=builtin:tiny-llama",
    f"training.max_steps={STEPS}",
    "training.effective_batch_size=8",
    "training.eval_steps=2",
    "data.eval={from_train: 8}",
    "checkpoint.save_steps=2",
    "evaluate.max_new_tokens=4",
)
SHORT = ("training.max_length=96", "data.train.0.path=rows.jsonl")
RECIPES: dict[str, tuple[str, ...]] = {
    "smollm2-135m-full": (*TINY, *SHORT),
    "smollm2-135m-lora": (*TINY, *SHORT),
    "smollm2-135m-cpt": (
        *TINY,
        *SHORT,
        "data.train.0.sample=60",
        "adapter.modules_to_save=[embed_tokens]",
        "adapter.ensure_weight_tying=true",
    ),
    "smollm2-135m-cpt-sft-dpo": (
        *TINY,
        "training.max_length=96",
        *(f"stages.{stage}.data.train.0.path=rows.jsonl" for stage in ("cpt", "sft", "dpo")),
        "stages.cpt.data.train.0.sample=60",
    ),
    "smollm2-135m-dpo": (*TINY, *SHORT),
    "smollm2-135m-grpo": (*TINY, "training.max_completion_length=8"),
}


def row(prompt: str, completion: str) -> dict[str, Any]:
    """One with the fields of all the datasets: Alpaca's, CodeSearchNet's and Orca's pairs'."""
    return {
        "instruction": prompt,
        "input": "",
        "output": completion,
        "original_string": f"def f():\n    '''{completion}'''\n",
        "system": "",
        "question": prompt,
        "chosen": completion,
        "rejected": "I do not know.",
    }


@pytest.mark.parametrize("name", RECIPES)
def test_a_shipped_recipe_runs_to_its_end_in_small(name: str, forked: Attempts, tmp_path: Path) -> None:
    docstrings = builtin_dataset("builtin:python-docstrings", where="data")[:900:9]
    rows = [row(example["prompt"], example["completion"]) for example in docstrings]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    loaded = load_recipe(name, overrides=RECIPES[name], cwd=tmp_path)
    prepared = prepare(loaded)

    store = open_store(forked.store_url)
    for key, path in prepared.inputs.items():
        store.upload(run_key(name, key), path)
    record = {"version": 1, "run_id": name, "name": name, "recipe": prepared.recipe}
    assert store.create(run_key(name, "run.json"), json.dumps(record).encode())
    assert forked.run(name) == 0, forked.log(name)

    result = json.loads(store.get(run_key(name, "result.json")))
    assert result["step"] == STEPS
    assert result["before"]
    assert result["after"]
    stages = loaded.recipe.stages
    handed_over = {f"stage-{stage.stage_name}" for stage in stages[:-1]}
    assert set(result["artifacts"]) == {"model", *handed_over, *(["merged"] if loaded.recipe.export.merge else [])}
    records = read_metrics(store, name)
    for stage in loaded.recipe.in_order:
        check_metrics([record for record in records if record["stage"] == stage.stage_name], steps=STEPS)
    assert [stage["stage"] for stage in result.get("stages", ())] == [stage.stage_name for stage in stages]
    if loaded.recipe.method == "grpo":
        assert all("rewards/closeness/mean" in one for one in records if one["kind"] == "train")
        assert "eval_reward" in result["after"]


def test_every_shipped_recipe_has_such_a_run(tmp_path: Path) -> None:
    """The quickstart is built in as it is, and has tests of its own."""
    assert set(RECIPES) == set(recipes_at_hand(tmp_path)) - {"quickstart"}
