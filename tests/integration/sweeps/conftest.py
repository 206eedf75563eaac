"""Fixtures for whole sweeps."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.references import locked, shared_folder
from support.sweeping.small import Place, check_sweep, ended

MakePlace = Callable[..., Place]


@pytest.fixture(scope="session")
def sweep_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models and prepared data, for all of these tests."""
    return shared_folder(tmp_path_factory) / "sweep-cache"


@pytest.fixture
def make_place(data: Path, sweep_cache: Path, tmp_path: Path) -> Iterator[MakePlace]:
    """A function that makes machines with a home each; by default they share a store in a folder."""
    places: list[Place] = []

    def make(name: str = "home", *, store: str | None = None, **options: dict[str, str]) -> Place:
        places.append(Place(tmp_path / name, data, store or str(tmp_path / "store"), sweep_cache, **options))
        return places[-1]

    yield make
    for place in places:
        place.close()


@pytest.fixture
def place(make_place: MakePlace) -> Place:
    """A machine."""
    return make_place()


@pytest.fixture(scope="session")
def calm(data: Path, sweep_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A machine with the sweep `calm`, which two workers have brought to its end undisturbed. Only to be read."""
    folder = shared_folder(tmp_path_factory) / "calm"
    with locked(folder.with_suffix(".lock")):
        is_there = (folder / "store" / "sweeps").exists()
        place = Place(folder, data, str(folder / "store"), sweep_cache)
        if not is_there:
            ended(place.launch("calm"))
    check_sweep(place, "calm")
    return place
