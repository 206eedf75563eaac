"""Backends are found by name, and a fourth one takes a class and a line in the table."""

import os
import subprocess
import sys

import pytest

from runner.backends import registry
from runner.backends.base import ResourceOptions
from runner.backends.registry import backend_for
from runner.control.cancel import cancel_run
from runner.control.launch import LaunchOptions, dry_run, launch
from runner.control.launching.cost import CostQuestion
from runner.control.ps import list_and_refresh
from runner.control.resume import ResumeOptions, resume
from runner.control.wait import RunWaiter
from runner.errors import UserError
from runner.paths import state_folder
from runner.runs.launches import newest_launch, note_ended
from runner.runs.status import run_status
from support.bench import Bench
from support.fakes import fake_backend


@pytest.fixture(autouse=True)
def fourth(monkeypatch: pytest.MonkeyPatch) -> None:
    """The infra ``mine``."""
    monkeypatch.setitem(registry.BACKENDS, "mine", "support.fakes.fake_backend:FakeBackend")
    monkeypatch.setattr(fake_backend, "SENT", [])
    monkeypatch.setattr(fake_backend, "REFRESHED", [])


def never(question: CostQuestion) -> bool:
    raise AssertionError(question)


def asked(bench: Bench, **more: object) -> LaunchOptions:
    bench.recipe()
    resources = ResourceOptions(infra=("mine/room-2",))
    return LaunchOptions(recipe="small.yaml", resources=resources, name="try", cwd=bench.folder, **more)


def test_a_fourth_backend_gets_what_a_dry_run_showed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hunter2")
    options = asked(bench, secrets=["TOKEN"])
    shown = dry_run(bench.store, options, say=print).request
    assert bench.store.folders("runs/") == []
    launched = launch(bench.store, options, confirm=never, say=print)
    assert (launched.run_id, launched.infra) == ("try", "mine/room-2")
    [(letter, environment)] = fake_backend.SENT
    assert shown.as_json() == {"letter": letter}
    assert "hunter2" not in repr(shown)
    assert environment["TOKEN"] == "hunter2"
    assert launched.started.supervise is None
    newest = newest_launch(bench.store, "try")
    assert newest is not None
    assert (newest.record["engine"], newest.record["infra"]) == ("mine", "mine/room-2")
    assert b"hunter2" not in bench.written()


def test_a_fourth_backend_has_its_say_in_what_becomes_of_a_run(bench: Bench) -> None:
    """It is asked about runs that wait, it may refuse to let go of one, and it ends them."""
    launch(bench.store, asked(bench), confirm=never, say=print)
    assert [run.infra for run in list_and_refresh(bench.store, on_damaged=lambda *_: None)] == ["mine/room-2"]
    assert RunWaiter(bench.store, "try").look()[1] is False
    assert fake_backend.REFRESHED == ["try", "try"]
    with pytest.raises(UserError, match="my machine has it"):
        resume(bench.store, ResumeOptions(run_id="try"), confirm=never, say=print)
    newest = newest_launch(bench.store, "try")
    assert newest is not None
    note_ended(bench.store, newest, status="GONE", reason=None)
    assert resume(bench.store, ResumeOptions(run_id="try"), confirm=never, say=print).infra == "mine/room-2"
    assert len(fake_backend.SENT) == 2
    assert cancel_run(bench.store, "try", say=print).state == "cancelled"
    assert not state_folder(bench.store.url, "try").exists()


def test_a_fourth_backend_refuses_what_it_cannot_use(bench: Bench) -> None:
    with pytest.raises(UserError, match="no images here"):
        launch(bench.store, asked(bench, image="some/image"), confirm=never, say=print)
    assert bench.store.folders("runs/") == []


def test_a_run_moves_between_backends(bench: Bench) -> None:
    """From this machine to the fourth one."""
    bench.recipe()
    assert bench.runner("launch", "small.yaml", "--name", "try", plan={"1": ["stop", 3]}).returncode == 75
    options = ResumeOptions(run_id="try", resources=ResourceOptions(infra=("mine",)))
    assert resume(bench.store, options, confirm=never, say=print).infra == "mine"
    assert run_status(bench.store, "try").infra == "mine"


def test_every_other_infra_is_skypilots() -> None:
    for infra in ("*", "aws", "gcp/us-central1", "aws, gcp", "k8s/mine"):
        assert type(backend_for(infra)).__name__ == "SkyPilotBackend"


def test_a_backend_is_imported_when_it_is_asked_for() -> None:
    code = (
        "import sys; from runner.backends.registry import backend_for; backend_for('local');"
        "print(any(name.startswith(('runner.backends.docker', 'runner.backends.skypilot')) for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, timeout=60)
    assert done.stdout == "False\n", done
