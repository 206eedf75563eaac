"""A sweep goes with all of its trials, once it is over."""

import pytest

from runner.control.keeping.rm import plan_removal, remove
from runner.errors import UserError
from support.bench import Bench
from support.stored import ended, submitted
from support.sweeping.launched import launched, tell


def test_a_sweep_goes_with_its_trials_once_it_is_over(bench: Bench) -> None:
    launched(bench.store, bench.folder)
    submitted(bench.store, "sweep-0000")
    ended(bench.store, "sweep-0000")
    submitted(bench.store, "sweep-0001")
    submitted(bench.store, "sweep-other")
    with pytest.raises(UserError, match="runner sweep stop"):
        plan_removal(bench.store, ["sweep"])
    tell(bench.store, {"event": "ended", "state": "stopped", "reason": "enough"})
    plan = plan_removal(bench.store, ["sweep"])
    assert (plan.run_ids, plan.sweep_ids) == (["sweep-0000", "sweep-0001"], ["sweep"])
    remove(bench.store, plan)
    assert [info.key for info in bench.store.objects("")] == ["runs/sweep-other/run.json"]
