"""`runner launch --infra docker`: a container does what a local attempt does, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.launches import newest_launch
from runner.runs.measured.machine import read_machines
from runner.storage.open import open_store
from support.containers.image import ROOT, SHORT, Built, podman
from support.runs import assert_same, outcome

pytestmark = pytest.mark.image

LAUNCH = ("launch", "quickstart", "--infra", "docker", *(word for one in SHORT for word in ("--set", one)))


class Here:
    """This machine with a home and a store of the test's own."""

    def __init__(self, folder: Path, image: str) -> None:
        self.store = open_store(str(folder / "store"))
        self.image = image
        self.environment = {
            **os.environ,
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "HF_HOME": str(folder / "hub"),
            "RUNNER_STORE": self.store.url,
            "OMP_NUM_THREADS": "1",
        }

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """A command of `runner`'s."""
        command = [sys.executable, "-m", "runner", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, env=self.environment, cwd=ROOT, text=True, **pipes)

    def launch(self, run_id: str, *arguments: str) -> "subprocess.Popen[str]":
        """A launch of the quickstart."""
        return self.start(*LAUNCH, "--image", self.image, "--name", run_id, *arguments)


def finished(process: "subprocess.Popen[str]") -> tuple[int, str]:
    said, _ = process.communicate(timeout=900)
    return process.returncode, said


def wait_for(condition: Callable[[], object], seconds: float = 900) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.05)


def containers() -> list[str]:
    """The attempts' containers that there are, running or not."""
    names = podman("ps", "--all", "--format", "{{.Names}}").stdout.split()
    return [name for name in names if name.startswith("runner-")]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, image: Built) -> Here:
    return Here(tmp_path_factory.mktemp("here"), image.name)


@pytest.fixture(scope="module")
def calm(here: Here) -> dict[str, Any]:
    code, said = finished(here.launch("calm"))
    assert code == 0, said
    return outcome(here.store, "calm")


def test_a_run_succeeds_and_records_the_image_it_is_pinned_to(here: Here, calm: dict[str, Any], image: Built) -> None:
    assert calm["state"] == "succeeded"
    document = json.loads(here.store.get("runs/calm/run.json"))
    assert (document["infra"], document["image"]) == ("docker", image.report["id"])
    assert read_machines(here.store, "calm")[1].get("image") == image.report["id"]
    assert containers() == []


def test_a_killed_container_is_replaced_and_the_model_is_the_same(here: Here, calm: dict[str, Any]) -> None:
    launch = here.launch("killed")
    wait_for(lambda: checkpoints(here.store, "killed"))
    (name,) = containers()
    podman("kill", "--signal=KILL", name)
    code, said = finished(launch)
    assert code == 0, said
    assert "the attempt was killed (SIGKILL); starting it again" in said
    assert "continues from step" in said
    assert_same(outcome(here.store, "killed"), calm)


def test_ctrl_c_saves_and_leaves_no_container_and_resume_goes_on(here: Here, calm: dict[str, Any]) -> None:
    launch = here.launch("stopped")
    wait_for(lambda: checkpoints(here.store, "stopped"))
    launch.send_signal(signal.SIGINT)
    code, said = finished(launch)
    assert code == 130, said
    assert containers() == []
    code, said = finished(here.start("resume", "stopped", "--infra", "docker"))  # in its own image, not in another
    assert code == 0, said
    assert newest_launch(here.store, "stopped") is None, "it is where it was"
    assert_same(outcome(here.store, "stopped"), calm)


def test_killing_runner_takes_the_container_with_it_and_resume_goes_on_at_once(
    here: Here, calm: dict[str, Any]
) -> None:
    launch = here.launch("orphan")
    wait_for(lambda: checkpoints(here.store, "orphan"))
    assert len(containers()) == 1
    launch.kill()
    launch.communicate(timeout=120)
    wait_for(lambda: containers() == [], 20)
    code, said = finished(here.start("resume", "orphan", "--detach"))
    assert code == 0, said
    code, said = finished(here.start("wait", "orphan"))
    assert code == 0, said
    assert_same(outcome(here.store, "orphan"), calm)


def test_a_secret_reaches_the_container_and_no_command_line(here: Here) -> None:
    here.environment["A_SECRET"] = "do-not-tell"
    launch = here.launch("secret", "--secret", "A_SECRET")
    wait_for(lambda: containers())
    (name,) = containers()
    wait_for(lambda: checkpoints(here.store, "secret"))
    said = podman("exec", name, "bash", "-c", "tr '\\0' '\\n' < /proc/1/environ").stdout
    assert "A_SECRET=do-not-tell" in said
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(b"do-not-tell" in line for line in lines)
    launch.send_signal(signal.SIGTERM)
    code, text = finished(launch)
    assert code == 75, text


def test_the_dry_run_shows_a_command_that_can_be_typed(here: Here) -> None:
    code, said = finished(here.launch("typed", "--dry-run", "--json"))
    assert code == 0, said
    command = json.loads(said)["command"]
    assert command[:2] == ["podman", "run"]
    assert {"--read-only", "--cap-drop=all"} <= set(command)
    assert "--until-stdin-closes" not in command


def test_an_image_that_is_nowhere_is_a_mistake_with_a_remedy(here: Here) -> None:
    here.image = "localhost:1/nobody/nothing:1"
    code, said = finished(here.launch("nowhere"))
    assert code == 2
    assert "localhost:1/nobody/nothing:1: " in said
    assert "Traceback" not in said
