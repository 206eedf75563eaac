"""Finding a sweep by what a person types."""

from pathlib import Path

import pytest

from runner.control.sweeping.find import find_sweep, list_sweeps
from runner.errors import UserError
from runner.storage.open import open_store
from runner.storage.store import Store
from runner.sweeps.definition import write_definition
from support.sweeping.definitions import make_definition


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(str(tmp_path / "store"))
    for day, sweep_id in enumerate(["loss-0101-ab12", "loss-0103-cd34", "other-0102-ab99"], 1):
        write_definition(store, make_definition(sweep_id=sweep_id, created_at=f"2026-01-0{day}T00:00:00+00:00"))
    return store


@pytest.mark.parametrize(
    ("text", "sweep_id"),
    [
        ("last", "other-0102-ab99"),
        ("loss-0101-ab12", "loss-0101-ab12"),
        ("cd34", "loss-0103-cd34"),
        ("other", "other-0102-ab99"),
    ],
)
def test_a_sweep_is_found_by_its_id_a_part_of_it_or_as_the_last(store: Store, text: str, sweep_id: str) -> None:
    assert find_sweep(store, text) == sweep_id


def test_a_part_that_fits_two_names_both(store: Store) -> None:
    with pytest.raises(UserError, match=r"fits 2 sweeps: loss-0101-ab12, loss-0103-cd34"):
        find_sweep(store, "loss")


@pytest.mark.parametrize("text", ["", "los-0101-ab12", "../runs", "LOSS"])
def test_what_names_none_is_a_mistake(store: Store, text: str) -> None:
    with pytest.raises(UserError, match="no sweep"):
        find_sweep(store, text)


def test_a_folder_without_a_definition_is_no_sweep(store: Store) -> None:
    store.put("sweeps/half/journal/0001.json", b"{}")
    with pytest.raises(UserError, match="no sweep"):
        find_sweep(store, "half")
    assert "half" not in [one.definition.sweep_id for one in list_sweeps(store)[0]]


def test_no_more_sweeps_are_read_than_are_asked_for(store: Store) -> None:
    sweeps, older = list_sweeps(store, most=1)
    assert ([one.definition.sweep_id for one in sweeps], older) == (["other-0102-ab99"], 2)
