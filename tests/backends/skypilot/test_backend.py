"""A run that SkyPilot has: what the store and the cache say of it, and where SkyPilot is found."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from runner.backends.skypilot.client import INSTALL, SkyPilotSays, find_python, is_supported, require_sky
from runner.control.wait import RunWaiter
from runner.errors import UserError
from runner.paths import engine_cache
from runner.runs.launches import Launch, newest_launch, note_ended, note_job, note_launch, task_name
from runner.runs.status import run_status
from runner.storage.open import open_store
from runner.storage.store import Store

RUN = "r-1"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    store = open_store(str(tmp_path / "store"))
    document = {"run_id": RUN, "name": "r", "infra": "aws", "accelerators": {"T4": 1}}
    document["created_at"] = "2026-11-21T00:00:00+00:00"
    store.create(f"runs/{RUN}/run.json", json.dumps({**document, "recipe": {"training": {"max_steps": 9}}}).encode())
    return store


def attempt(store: Store, number: int, **ended: Any) -> None:
    key = f"runs/{RUN}/attempts/{number:04d}"
    store.create(f"{key}.json", json.dumps({"token": f"{number:04d}-aaaa", "host": "far", "boot_id": "x"}).encode())
    if ended:
        store.create(f"{key}.ended.json", json.dumps({"exit_code": 75, **ended}).encode())


def remember(store: Store, launch: Launch, **news: Any) -> None:
    path = engine_cache(store.url, RUN)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"launch": launch.number, **news}))


def test_a_launch_is_found_again_by_its_name(store: Store) -> None:
    """The name is there before SkyPilot is asked, and is another one each time."""
    first = note_launch(store, RUN, {"cluster": None})
    assert newest_launch(store, RUN) == first
    assert first.handle == {"name": "r-1", "job_id": None, "cluster": None}
    note_job(store, first, {"job_id": 7})
    second = note_launch(store, RUN, {"cluster": "mine"})
    note_job(store, second, {"job_id": 8})
    found = newest_launch(store, RUN)
    assert found is not None
    assert found.handle == {"name": "r-1-2", "job_id": 8, "cluster": "mine"}


def test_a_name_is_one_that_skypilot_takes() -> None:
    """A letter first, a letter or digit last."""
    assert task_name("9-lives-") == "run-9-lives"


def test_what_comes_before_the_first_attempt_is_what_skypilot_last_said(store: Store) -> None:
    """A run waits as long as SkyPilot is at it, and is interrupted when SkyPilot has given up."""
    assert run_status(store, RUN).state == "pending"
    launch = note_launch(store, RUN, {"cluster": None})
    remember(store, launch, status="STARTING", reason="looking for a T4", ended=False)
    status = run_status(store, RUN)
    assert (status.state, status.reason) == ("pending", "SkyPilot: STARTING: looking for a T4")
    note_ended(store, launch, status="FAILED_NO_RESOURCE", reason="no capacity in us-east-1")
    status = run_status(store, RUN)
    assert (status.state, status.retry) == ("interrupted", False)
    assert status.reason == "SkyPilot: FAILED_NO_RESOURCE: no capacity in us-east-1"
    assert RunWaiter(store, RUN).look()[1]


def test_news_of_an_earlier_launch_is_no_news(store: Store) -> None:
    """What was said of a job before it was handed over anew means nothing now."""
    first = note_launch(store, RUN, {"cluster": None})
    remember(store, first, status="FAILED", reason="gone", ended=True)
    note_ended(store, first, status="FAILED", reason="gone")
    note_launch(store, RUN, {"cluster": None})
    status = run_status(store, RUN)
    assert (status.state, status.reason) == ("pending", None)


def test_between_two_attempts_both_have_their_say(store: Store) -> None:
    """Why the last attempt ended, and what SkyPilot does about it; afterwards, that it does no more."""
    launch = note_launch(store, RUN, {"cluster": None})
    attempt(store, 1, reason="told to stop", retry=True)
    remember(store, launch, status="RECOVERING", reason=None, ended=False)
    status = run_status(store, RUN)
    assert (status.state, status.retry) == ("interrupted", True)
    assert status.reason == "told to stop; SkyPilot: RECOVERING"
    note_ended(store, launch, status="FAILED", reason=None)
    assert run_status(store, RUN).retry is False


def script(folder: Path, head: str) -> None:
    program = folder / "sky"
    program.write_text(f"{head}\nimport sky\n")
    program.chmod(0o755)


def test_skypilot_is_found_by_its_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first line names the Python that has it; where a path is long, installers write the second."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_python() is None
    for head in (f"#!{sys.executable}", f"#!/bin/sh\n'''exec' '{sys.executable}' \"$0\" \"$@\"\n' '''"):
        script(tmp_path, head)
        assert find_python() == sys.executable
    script(tmp_path, "#!/nowhere/python")
    assert find_python() is None


def test_no_skypilot_and_another_version_are_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="not installed") as caught:
        require_sky()
    assert caught.value.remedy == INSTALL
    script(tmp_path, f"#!{sys.executable}")  # a Python without it
    with pytest.raises(UserError, match="not installed"):
        require_sky()
    assert is_supported("0.14.1")
    assert not is_supported("0.15.0")
    assert not is_supported("1.0.0.dev20261101")


@pytest.mark.parametrize(
    ("kind", "message", "remedy"),
    [
        ("ResourcesUnavailableError", "Cloud access is not set up. Run: sky check", "sky check"),
        ("ValueError", "Invalid region 'us-east-9'", "sky gpus list"),
        ("ResourcesUnavailableError", "VcpuLimitExceeded: quota", "higher quota"),
        ("ResourcesUnavailableError", "\x1b[31mNo resource\x1b[0m satisfying\n\n  the request   ", "name other GPUs"),
        ("RuntimeError", "something new", "sky check"),
    ],
)
def test_a_refusal_has_a_remedy(kind: str, message: str, remedy: str) -> None:
    """SkyPilot's words, without colours and empty lines, and what to do."""
    error = SkyPilotSays(kind, message).for_people("aws")
    assert error.what.startswith("SkyPilot says: ")
    assert "\x1b" not in error.what
    assert "\n\n" not in error.what
    assert error.remedy is not None
    assert remedy in error.remedy
