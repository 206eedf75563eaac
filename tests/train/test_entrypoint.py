"""The attempt program: its command line, and what it does with a run that has ended or is unknown."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.storage.local import LocalStore
from runner.train.agent.timing import Timing
from runner.train.entrypoint import main, run_attempt


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def run_in(folder: Path, result: dict[str, Any] | None) -> LocalStore:
    store = LocalStore(folder)
    recipe = {"method": "sft", "data": {"train": [], "eval": []}, "training": {"use_cpu": True}}
    document = {"run_id": "run", "name": "small", "recipe": recipe, "infra": "local", "accelerators": None}
    document["created_at"] = "2026-01-01T00:00:00+00:00"
    assert store.create("runs/run/run.json", json.dumps(document).encode())
    if result is not None:
        assert store.create("runs/run/result.json", json.dumps(result).encode())
    return store


@pytest.mark.parametrize(("state", "code"), [("succeeded", 0), ("failed", 1), ("cancelled", 1)])
def test_a_run_that_has_ended_is_not_attempted_again(
    state: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = run_in(tmp_path / "store", {"state": state})
    options = ["--store", store.url, "--run", "run", "--work-dir", str(tmp_path / "work"), "--give-up-after", "5"]
    assert main(options) == code
    assert f"run run has {state} already" in capsys.readouterr().out
    assert not list(store.objects("runs/run/attempts/"))


def test_a_run_that_the_store_does_not_know_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--store", str(tmp_path), "--run", "nothing", "--work-dir", str(tmp_path / "work")]
    assert main(options) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_workers_are_told_the_timing_that_was_passed_in(tmp_path: Path) -> None:
    seen: list[str] = []

    class NotStarted(Exception):
        pass

    def spawn(arguments: Any, events: int) -> Any:
        seen.extend(arguments)
        raise NotStarted

    (tmp_path / "work").mkdir()
    with pytest.raises(NotStarted):
        run_attempt(
            run_in(tmp_path / "store", None),
            "run",
            tmp_path / "work",
            spawn=spawn,
            timing=Timing(finish=3.0, preemption_grace=4.0),
        )
    assert seen[seen.index("--finish-seconds") + 1] == "3.0"
    assert seen[seen.index("--grace-seconds") + 1] == "4.0"
    assert seen[seen.index("--local-rank") + 1] == "0"
