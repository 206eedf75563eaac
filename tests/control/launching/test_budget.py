"""What a launch says of money."""

from pathlib import Path
from typing import Any

import pytest

from runner.control.launching.budget import chosen_budget, describe_budget, set_budget_again
from runner.errors import UserError
from runner.runs.attempts import claim_attempt, write_ended
from runner.runs.measured.budget import Budget, read_budget
from runner.runs.measured.prices import stated_price
from runner.runs.measured.spending import write_price
from runner.runs.records import encoded, run_document
from runner.storage.local import LocalStore

L4 = {"accelerators": "L4:1", "infra": "aws"}


@pytest.fixture(autouse=True)
def no_catalogs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RUNNER_HOURLY_COST", raising=False)


@pytest.mark.parametrize("resources", [None, {"infra": "slurm/here"}, {"cpus": "4+"}])
def test_a_cap_that_cannot_be_kept_is_refused(resources: dict[str, Any] | None) -> None:
    with pytest.raises(UserError, match="nothing is known of what") as refusal:
        chosen_budget(5.0, None, resources, environ={})
    assert "--hourly-cost" in (refusal.value.remedy or "")
    assert chosen_budget(5.0, 1.2, resources, environ={}) == Budget(max_cost=5.0, hourly_cost=1.2)
    assert chosen_budget(None, None, resources, environ={}) == Budget()


def test_a_catalog_or_the_machine_itself_knows_the_price() -> None:
    assert chosen_budget(5.0, None, L4, environ={}) == Budget(max_cost=5.0)
    here = {"RUNNER_HOURLY_COST": "0.8"}
    assert chosen_budget(5.0, None, None, environ=here) == Budget(max_cost=5.0, hourly_cost=0.8)
    assert chosen_budget(5.0, None, L4, environ=here) == Budget(max_cost=5.0), "that is the price of this machine"
    with pytest.raises(UserError, match="not an amount"):
        chosen_budget(None, None, None, environ={"RUNNER_HOURLY_COST": "much"})


def test_how_long_it_lasts_is_said() -> None:
    assert describe_budget(Budget(max_cost=10.0, hourly_cost=2.0), None, 1) == (
        "it may cost $10.00 in all, which lasts for 5.0 h; then it saves, and is interrupted"
    )
    assert "12.4 h" in (describe_budget(Budget(max_cost=20.0), L4, 2) or "")
    assert describe_budget(Budget(hourly_cost=2.0), None, 1) is None


def test_what_is_not_said_again_stays_but_for_the_price_of_another_machine(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    document = {
        "run_id": "run",
        "name": "r",
        "recipe": {},
        "infra": "local",
        "accelerators": None,
        "created_at": "2026-11-01T10:00:00+00:00",
        "budget": {"max_cost": 2.0, "hourly_cost": 3600.0},
    }
    store.create("runs/run/run.json", encoded(document))
    claim = claim_attempt(store, "run", {"started_at": "2026-11-01T10:00:00+00:00"})
    write_price(store, claim, stated_price(3600.0))
    write_ended(store, claim, {"ended_at": "2026-11-01T10:00:03+00:00"})

    def again(max_cost: float | None = None, hourly: float | None = None, **place: Any) -> Budget:
        where: dict[str, Any] = {"moves": False, "resources": None, "say": lambda text: None, **place}
        set_budget_again(store, "run", max_cost=max_cost, hourly_cost=hourly, **where)
        return read_budget(store, run_document(store, "run"))

    with pytest.raises(UserError, match=r"has cost \$3.00 of the \$2.00") as refusal:
        again()
    assert "--max-cost 6" in (refusal.value.remedy or "")
    assert again(9.0) == Budget(max_cost=9.0, hourly_cost=3600.0)
    assert again() == Budget(max_cost=9.0, hourly_cost=3600.0)
    assert again(moves=True, resources=L4) == Budget(max_cost=9.0)
    with pytest.raises(UserError, match="nothing is known"):
        again(moves=True)
