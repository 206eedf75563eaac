"""The bench for the Python API: runs of the stand-in that are launched from this very process."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from runner.backends.local import backend
from support.bench import STAND_IN, Bench
from support.paths import TESTS


class InProcess:
    """The bench with its folders and the stand-in in this process's own environment."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bench = bench
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("PYTHONPATH", str(TESTS))
        monkeypatch.setattr(backend, "ENTRYPOINT", STAND_IN)
        monkeypatch.chdir(bench.folder)
        bench.recipe()
        self.plan({})

    def plan(self, plan: dict[str, Any]) -> None:
        """What the stand-in does."""
        self._monkeypatch.setenv("STAND_IN", json.dumps(plan))


@pytest.fixture
def here(bench: Bench, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[InProcess]:
    yield InProcess(bench, monkeypatch)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
