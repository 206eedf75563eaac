"""Memory runs out in a training step: the run goes on in smaller pieces, with the same samples in the same steps."""

import json
from pathlib import Path

import pytest

from runner.recipe.recipe import Recipe
from runner.runs.attempts import attempts
from runner.runs.layout import run_key
from runner.storage.open import open_store
from support.forked import Attempts, Shortage
from support.method_recipes import grpo
from support.runs import STEPS, assert_same, outcome, recipe, submit

# Where a micro-batch meets the model.
MEETS = {
    "sft": "runner.train.methods.sft:ResumableSFTTrainer.training_step",
    "grpo": "runner.train.methods.grpo:ResumableGRPOTrainer.compute_loss",
}


def in_fours(method: str, data: Path) -> Recipe:
    """Steps of one micro-batch of four samples; GRPO's are generated for five steps at once, and saved between them."""
    if method == "sft":
        return recipe(data, adapter=False, per_device_train_batch_size=4, gradient_accumulation_steps=1)
    batch = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "steps_per_generation": 5}
    return grpo(data, adapter=False, **batch)


@pytest.mark.parametrize("method", ["sft", pytest.param("grpo", marks=pytest.mark.thorough)])
def test_out_of_memory_it_goes_on_in_smaller_pieces_with_the_same_samples(
    method: str, forked: Attempts, data: Path, tmp_path: Path
) -> None:
    """No sample lost or repeated, no kill counted; and killed after that, it is the same again."""
    store = open_store(forked.store_url)
    what, meets = in_fours(method, data), MEETS[method]
    ample, short, killed = (f"{method}-{ending}" for ending in ("ample", "short", "short-and-killed"))
    rows_of = {run_id: tmp_path / f"{run_id}.jsonl" for run_id in (ample, short)}
    submit(store, ample, what)
    assert forked.run(ample, Shortage(meets, record=str(rows_of[ample]))) == 0, forked.log(ample)
    submit(store, short, what)
    assert forked.run(short, Shortage(meets, 6, samples=2, record=str(rows_of[short]))) == 0, forked.log(short)

    first, second = attempts(store, short)
    assert first.ended is not None
    assert first.ended["split"] == [2, 2]
    assert "memory ran out in step 6" in first.ended["reason"]
    assert "micro-batches of 2 instead of 4" in first.ended["reason"]
    assert (first.ended["outcome"], first.ended["retry"]) == ("interrupted", True)
    assert second.restored is not None
    assert second.restored.step in (3, 4), "the last that was saved, or the best"
    log = forked.log(short)
    assert "warning: memory ran out in step 6" in log
    assert "attempt 2 trains in micro-batches of 2, 2 in a step" in log

    assert rows_by_step(rows_of[short]) == rows_by_step(rows_of[ample])
    losses = [
        [record["loss"] for record in outcome(store, run_id)["metrics"] if record["kind"] == "train"]
        for run_id in (ample, short)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)

    submit(store, killed, what)
    trap = Shortage(meets, 6, samples=2, kill_at=9)
    assert forked.run(killed, trap) == 75, forked.log(killed)
    forked.run_to_the_end(killed)
    assert_same(outcome(store, killed), outcome(store, short))


def rows_by_step(record: Path) -> dict[int, list[str]]:
    """The rows of each step, in their order: those of the last attempt that took it."""
    found: dict[int, list[str]] = {}
    begins = False
    for line in record.read_text().splitlines():
        known = json.loads(line)
        if known["step"] is None:
            begins = True
            continue
        if begins:
            found = {step: rows for step, rows in found.items() if step < known["step"]}
            begins = False
        found.setdefault(known["step"], []).extend(known["rows"])
    assert len(found) == STEPS
    return found


def test_with_one_sample_at_a_time_it_fails_and_says_what_to_lower(forked: Attempts, data: Path) -> None:
    store = open_store(forked.store_url)
    submit(store, "too-short", recipe(data, adapter=False))
    assert forked.run("too-short", Shortage(MEETS["sft"], 2, samples=0)) == 1, forked.log("too-short")
    result = json.loads(store.get(run_key("too-short", "result.json")))
    assert result["state"] == "failed"
    assert "max_length" in result["reason"]
    assert [attempt.ended.get("split") for attempt in attempts(store, "too-short") if attempt.ended] == [[1, 4], None]
