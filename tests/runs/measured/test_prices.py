"""The prices that a launch has found, in the store."""

from pathlib import Path

from runner.runs.launches import newest_launch, note_launch
from runner.runs.measured.prices import note_prices, read_prices
from runner.runs.record_types.money import PricesRecord
from runner.storage.local import LocalStore

LAUNCHES = "runs/run/launches/"


def found(dollars: float) -> PricesRecord:
    return {
        "source": "a catalog",
        "offers": [{"infra": "aws", "zone": "us-east-1a", "accelerators": "L4:1", "dollars_per_hour": dollars}],
    }


def test_the_prices_of_the_newest_launch_that_has_any_count(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    assert read_prices(store, LAUNCHES) is None
    for dollars in (1.0, 2.0, None):
        launch = note_launch(store, "run", {})
        note_prices(store, LAUNCHES, launch.number, None if dollars is None else found(dollars))
    assert read_prices(store, LAUNCHES) == found(2.0)
    newest = newest_launch(store, "run")
    assert newest is not None
    assert newest.number == 3, "prices are no launch"
