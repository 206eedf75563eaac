"""What a killed and resumed run has cost is told apart: what was of use, and what was lost."""

from pathlib import Path

from runner.control.spending.cost import costs, rows
from runner.runs.attempts import attempts
from runner.runs.measured.useful import spending_with_use
from runner.storage.open import open_store
from support.forked import Attempts, Moment
from support.runs import recipe, submit

_STEP = "runner.train.methods.sft:ResumableSFTTrainer.training_step"


def test_of_a_killed_run_the_time_to_its_checkpoint_and_from_there_to_the_end_is_useful(
    forked: Attempts, data: Path
) -> None:
    store = open_store(forked.store_url)
    submit(store, "killed", recipe(data, adapter=True, max_steps=8), budget={"hourly_cost": 3600.0})
    assert forked.run("killed", Moment(_STEP, nth=8, saves=1)) == 75, forked.log("killed")
    [before] = spending_with_use(store, "killed").attempts
    assert before.useful_seconds is not None
    assert 0 < before.useful_seconds <= before.seconds
    assert forked.run("killed") == 0, forked.log("killed")
    first, second = spending_with_use(store, "killed").attempts
    assert attempts(store, "killed")[1].restored is not None
    assert first.useful_seconds == before.useful_seconds, "the run goes on from the last checkpoint that there was"
    assert second.useful_seconds is not None
    assert 0 < second.useful_seconds < second.seconds, "its start was paid for twice"
    [row] = rows(costs(store, ["killed"]))
    assert row["useful_seconds"] == round(first.useful_seconds + second.useful_seconds, 1)
    assert row["useful_dollars"] < row["dollars"]  # type: ignore[operator]
