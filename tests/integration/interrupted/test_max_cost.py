"""A run that may cost no more saves and ends; with a higher limit it ends as one that was never interrupted."""

import json
from pathlib import Path

import pytest

from runner.recipe.recipe import Checkpoint
from runner.runs.attempts import attempts
from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.measured.budget import Budget, note_budget
from runner.runs.measured.spending import spending
from runner.runs.status import run_status
from runner.storage.open import open_store
from support.forked import Attempts
from support.runs import NEVER_EVALUATED, assert_same, outcome, recipe, submit

DOLLARS = 3600.0
"""For an hour: a second costs a dollar."""


@pytest.mark.thorough
def test_capped_while_it_trains_and_before_and_resumed_it_ends_the_same(forked: Attempts, data: Path) -> None:
    from dataclasses import replace

    store = open_store(forked.store_url)
    what = replace(recipe(data, adapter=True, **NEVER_EVALUATED, max_steps=300), checkpoint=Checkpoint(save_steps=1000))
    submit(store, "plain", what)
    assert forked.run("plain") == 0, forked.log("plain")
    whole = attempts(store, "plain")
    assert len(whole) == 1
    seconds = spending(store, "plain").seconds
    submit(store, "capped", what, budget={"max_cost": 0.01, "hourly_cost": DOLLARS})
    assert forked.run("capped") == 75, forked.log("capped")
    assert not checkpoints(store, "capped"), "before the first step there is nothing to save"
    status = run_status(store, "capped")
    assert (status.state, status.capped, status.retry) == ("interrupted", True, False)
    # By what this machine needs: the first ends before it has trained to the end, and each goes on for longer.
    more, code = seconds / 3, 75
    while code == 75 and more < 20 * seconds:
        limit = (spending(store, "capped").dollars or 0.0) + more
        note_budget(store, "capped", Budget(max_cost=limit, hourly_cost=DOLLARS))
        code = forked.run("capped")
        more *= 1.3
    assert code == 0, forked.log("capped")
    ended = [attempt.ended or {} for attempt in attempts(store, "capped")]
    assert len(ended) >= 3, forked.log("capped")
    assert [each.get("capped") for each in ended] == [True] * (len(ended) - 1) + [None]
    assert any(attempt.restored is not None for attempt in attempts(store, "capped"))
    assert_same(outcome(store, "plain"), outcome(store, "capped"))
    cost = json.loads(store.get("runs/capped/result.json"))["cost"]
    assert cost == pytest.approx(spending(store, "capped").dollars, abs=2 * len(ended))
