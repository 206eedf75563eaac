"""People name runs by as little of the id as it takes."""

import pytest

from runner.errors import UserError
from runner.runs.listing import find_run
from support.bench import Bench


@pytest.fixture
def three(bench: Bench) -> Bench:
    bench.submit("tiny-20260101-120000-ab12", created_at="2026-01-01T12:00:00+00:00")
    bench.submit("tiny-20260102-120000-cd34", created_at="2026-01-02T12:00:00+00:00")
    bench.submit("other", created_at="2026-01-01T18:00:00+00:00")
    return bench


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("tiny-20260101-120000-ab12", "tiny-20260101-120000-ab12"),
        ("ab12", "tiny-20260101-120000-ab12"),
        ("tiny-20260102", "tiny-20260102-120000-cd34"),
        ("oth", "other"),
        ("last", "tiny-20260102-120000-cd34"),
    ],
)
def test_a_run_is_found_by_its_id_its_beginning_its_end_or_as_the_last(three: Bench, text: str, meant: str) -> None:
    assert find_run(three.store, text) == meant


def test_an_id_that_begins_another_is_found_all_the_same(bench: Bench) -> None:
    bench.submit("try")
    bench.submit("try-2")
    assert find_run(bench.store, "try") == "try"


def test_what_fits_several_runs_is_refused_with_their_names(three: Bench) -> None:
    with pytest.raises(UserError, match="fits 2 runs: tiny-20260101-120000-ab12, tiny-20260102-120000-cd34"):
        find_run(three.store, "tiny")


@pytest.mark.parametrize("text", ["othre", "../other", "", "runs/other", "Ä"])
def test_what_fits_no_run_is_refused(three: Bench, text: str) -> None:
    with pytest.raises(UserError) as refused:
        find_run(three.store, text)
    if text == "othre":
        assert "did you mean other?" in str(refused.value)


def test_there_is_no_last_run_in_an_empty_store(bench: Bench) -> None:
    with pytest.raises(UserError, match="no run yet"):
        find_run(bench.store, "last")


def test_a_folder_without_a_run_in_it_is_not_found(bench: Bench) -> None:
    bench.store.create("runs/cut-short/inputs/0/data.txt", b"")
    with pytest.raises(UserError):
        find_run(bench.store, "cut-short")
