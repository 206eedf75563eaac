"""The quickstart in a container with as few rights as can be: it succeeds, and loses nothing when it is stopped."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.runs.checkpoints.lineage import checkpoints
from support.containers.image import Built, Place, finished, podman
from support.runs import assert_same, check_metrics, outcome

pytestmark = pytest.mark.image

PATIENCE_SECONDS = 20.0


def wait_for(condition: Callable[[], object], seconds: float = 900) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.05)


def test_the_quickstart_succeeds_read_only_without_rights_network_or_root(calm: dict[str, Any]) -> None:
    assert (calm["state"], calm["step"]) == ("succeeded", 40)
    check_metrics(calm["metrics"], steps=40)


@pytest.mark.parametrize(("signal", "code", "outcome_kind"), [("TERM", 75, "interrupted"), ("KILL", 137, None)])
def test_stopped_midway_and_resumed_it_ends_in_the_identical_model(
    image: Built, place: Place, calm: dict[str, Any], signal: str, code: int, outcome_kind: str | None
) -> None:
    run_id = f"stopped-by-{signal.lower()}"
    place.submit(run_id)
    first = place.attempt(image.name, run_id)
    wait_for(lambda: checkpoints(place.store, run_id))
    podman("kill", f"--signal={signal}", run_id)
    assert finished(first, seconds=60) == code
    if outcome_kind:
        assert place.ended(run_id, 1)["outcome"] == outcome_kind
    reached = checkpoints(place.store, run_id)[0].step
    assert 0 < reached < 40
    assert place.run(image.name, run_id) == 0
    assert_same(outcome(place.store, run_id), calm)


def test_with_an_entrypoint_in_shell_form_the_signal_is_lost(image: Built, place: Place, tmp_path: Path) -> None:
    """The control: without exec form or an init, the test above would fail."""
    entrypoint = "/opt/venv/bin/python -P -m runner.train.entrypoint $ATTEMPT; exit $?"
    (tmp_path / "Dockerfile").write_text(f"FROM {image.name}\nENTRYPOINT {entrypoint}\n")
    podman("build", "--pull=never", "--tag=localhost/runner-tests/shell-form", str(tmp_path))
    place.submit("deaf")
    process = place.attempt("localhost/runner-tests/shell-form", "deaf", shell_form=True)
    try:
        wait_for(lambda: checkpoints(place.store, "deaf"))
        reached = checkpoints(place.store, "deaf")[0].step
        podman("kill", "--signal=TERM", "deaf")
        assert finished(process) == 0, "it did not hear the signal, and trained on to the end"
        assert reached < 40
    finally:
        if process.poll() is None:
            podman("kill", "deaf")


def test_too_little_memory_is_told_from_a_preemption(image: Built, place: Place) -> None:
    place.submit("hungry")
    assert place.run(image.name, "hungry", "--memory=200m", "--memory-swap=200m") == 75
    ended = place.ended("hungry", 1)
    assert ended["outcome"] == "interrupted"
    assert "ran out of main memory" in ended["reason"]


def test_a_mistake_of_the_callers_passes_through_as_exit_2(image: Built, place: Place) -> None:
    assert place.run(image.name, "nowhere") == 2


def test_orphans_are_reaped(image: Built) -> None:
    """Whatever training leaves behind (data loaders, compilers) becomes the child of process 1."""
    script = "(sleep 0.2 &) ; sleep 1; ps -e -o stat= -o comm="
    done = podman("run", "--rm", "--network=none", "--entrypoint=/usr/bin/tini", image.name, "--", "bash", "-c", script)
    assert "tini" in done.stdout
    assert "Z" not in done.stdout
