"""Runs on a real Slurm through real managed jobs: killed, superseded, failed, cancelled, and never a byte different."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from integration.runs import outcome
from runner.storage.open import open_store
from servers.s3 import SECRET_KEY
from slurm.bed import ROOT, SKY, Testbed

pytestmark = pytest.mark.slurm

STEPS, EVERY = 300, 20


def recipe(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "method": "sft",
        "model": {"model_name_or_path": "builtin:tiny-llama"},
        "adapter": {"r": 4, "lora_dropout": 0.2, "target_modules": "all-linear"},
        "data": {"train": [{"path": "builtin:python-docstrings", "sample": 300}], "eval": {"from_train": 8}},
        "training": {
            "max_steps": STEPS,
            "effective_batch_size": 4,
            "max_length": 48,
            "learning_rate": 2e-3,
            "gradient_checkpointing": False,
            "seed": 3,
        },
        "checkpoint": {"save_steps": EVERY, "save_total_limit": 2},
        "evaluate": {"before_and_after": True},
        "resources": {"accelerators": "T4:1", "cpus": "1+", "memory": "2+", "use_spot": True},
        **changes,
    }


def written(bed: Testbed, what: dict[str, Any]) -> str:
    path = bed.folder / f"{what['name']}.yaml"
    path.write_text(yaml.safe_dump(what))
    return str(path)


@dataclass(frozen=True)
class Runs:
    """What these tests look at."""

    bed: Testbed
    """Where they run."""
    old: "subprocess.Popen[str]"
    """An attempt at `outlived` that is asleep."""


@pytest.fixture(scope="module")
def runs(testbed: Testbed) -> Iterator["Runs"]:
    """Every run of this file, handed over at once: a machine takes a minute, and Slurm has six."""
    rows = testbed.folder / "rows.jsonl"
    row = json.dumps({"prompt": "a", "completion": "b"}) + "\n"
    rows.write_text(row * 20 + "no JSON at all\n")
    failing = recipe("failing", data={"train": [{"path": str(rows)}]}, evaluate={})
    endless = recipe("endless", training={**recipe("")["training"], "max_steps": 100_000})
    old = None
    for what, gpu in ((recipe("outlived"), "a100"), (recipe("scancelled"), "t4"), (failing, "t4"), (endless, "a100")):
        launch = ["launch", written(testbed, what), "--name", what["name"], "--gpu", gpu, "--infra", "slurm/testbed"]
        done = testbed.runner(*launch, "--detach", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["state"] in ("pending", "running")
        old = old or asleep(testbed, what["name"])
    assert old is not None
    yield Runs(testbed, old)
    if old.poll() is None:
        os.killpg(old.pid, signal.SIGKILL)


def asleep(bed: Testbed, run_id: str) -> "subprocess.Popen[str]":
    """An attempt at a run, on a machine that SkyPilot does not know of, put to sleep after its first checkpoint."""
    entrypoint = [sys.executable, "-P", "-m", "runner.train.entrypoint", "--run", run_id, "--store", bed.store.url]
    attempt = bed.start(*entrypoint, "--work-dir", str(bed.folder / "old"))
    bed.until(run_id, lambda status: newest_step(status) >= EVERY)
    for pid in (attempt.pid, *_descendants(attempt.pid)):
        os.kill(pid, signal.SIGSTOP)
    return attempt


@pytest.fixture(scope="module")
def undisturbed(testbed: Testbed) -> dict[str, Any]:
    """The same recipe, here, from its beginning to its end."""
    store = str(testbed.folder / "undisturbed")
    done = testbed.runner("launch", str(testbed.folder / "scancelled.yaml"), "--name", "here", "--store", store)
    assert done.returncode == 0, done.stderr
    return outcome(open_store(store), "here")


def newest_step(status: dict[str, Any]) -> int:
    return status["checkpoint_step"] or 0


def test_a_run_whose_machine_goes_away_ends_as_if_it_had_not(runs: Runs, request: pytest.FixtureRequest) -> None:
    """Slurm takes the allocation in the middle of training; the managed job finds another, and goes on."""
    bed = runs.bed
    bed.until("scancelled", lambda status: newest_step(status) >= EVERY)
    jobs = dict(line.split()[::-1] for line in bed.slurm("squeue", "--noheader", "--format=%i %j").splitlines())
    [job] = [number for name, number in jobs.items() if name.startswith("scancelled")]
    bed.slurm("scancel", job)
    undisturbed = request.getfixturevalue("undisturbed")  # now: SkyPilot takes its time
    done = bed.runner("wait", "scancelled")
    assert done.returncode == 0, done.stderr
    assert bed.status("scancelled")["attempts"] >= 2
    assert outcome(bed.store, "scancelled") == undisturbed


def test_an_attempt_that_outlives_its_machine_spoils_nothing(runs: Runs, undisturbed: dict[str, Any]) -> None:
    """It sleeps through the beginning of the next one, wakes up, trains on and writes; nothing of that is read."""
    runs.bed.until("outlived", lambda status: status["attempts"] >= 2 and newest_step(status) > EVERY)
    for pid in (runs.old.pid, *_descendants(runs.old.pid)):
        os.kill(pid, signal.SIGCONT)
    assert runs.old.wait(600) == 75
    assert runs.bed.runner("wait", "outlived").returncode == 0
    ended = json.loads(runs.bed.store.get("runs/outlived/attempts/0001.ended.json"))
    assert ended["outcome"] == "superseded"
    assert outcome(runs.bed.store, "outlived") == undisturbed


def test_a_run_that_fails_says_why(runs: Runs) -> None:
    """The reason is the training's own, not an exit code of an engine."""
    done = runs.bed.runner("wait", "failing")
    status = runs.bed.status("failing")
    assert status["state"] == "failed", status
    assert "rows.jsonl" in status["reason"]
    assert done.returncode in (1, 2)


def test_a_cancelled_run_leaves_nothing_behind(runs: Runs) -> None:
    """Neither in the store, which says so, nor on the cluster."""
    runs.bed.until("endless", lambda status: (status["step"] or 0) > 0)
    done = runs.bed.runner("cancel", "endless")
    assert done.returncode == 0, done.stderr
    assert runs.bed.status("endless")["state"] == "cancelled"
    assert json.loads(runs.bed.store.get("runs/endless/result.json"))["state"] == "cancelled"
    done = runs.bed.sky("jobs", "queue")
    [line] = [line for line in done.stdout.splitlines() if "endless" in line]
    assert "RUNNING" not in line
    assert "STARTING" not in line


def test_what_is_known_of_a_run_needs_no_server(runs: Runs) -> None:
    """Logs and metrics come from the store; who asks has no SkyPilot, and its server is not asked."""
    runs.bed.runner("wait", "scancelled")
    without = Testbed({**runs.bed.environment, "PATH": os.environ["PATH"]}, runs.bed.store, runs.bed.folder)
    assert len(json.loads(without.runner("metrics", "scancelled", "--json").stdout)) >= STEPS
    assert "attempt 2 continues from step" in without.runner("logs", "scancelled").stdout


def test_no_secret_is_in_the_store(runs: Runs) -> None:
    """Names are; the machine was given the value, or it could not have written this."""
    for key in ("run.json", "launches/0001.json", "launches/0001.job.json"):
        assert SECRET_KEY not in runs.bed.store.get(f"runs/scancelled/{key}").decode()
    assert "attempts" in runs.bed.status("scancelled")


def test_a_refusal_is_skypilots_own_word(testbed: Testbed) -> None:
    """A cloud that is not set up, and a cluster that there is none of: one message, exit 2, and what to do."""
    path = written(testbed, recipe("refused"))
    for infra in ("aws", "slurm/nowhere"):
        done = testbed.runner("launch", path, "--infra", infra, "--on-demand")
        assert done.returncode == 2, done.stderr
        assert "SkyPilot says" in done.stderr
        assert "Traceback" not in done.stderr


def test_skypilot_takes_every_example(testbed: Testbed) -> None:
    """The tasks in `sky/` are valid by the schema and the rules of SkyPilot itself."""
    files = [str(path) for path in sorted((ROOT / "sky").glob("*.yaml"))]
    assert len(files) > 20
    script = (
        "import sys, sky, yaml\n"
        "for name in sys.argv[1:]:\n"
        "    content = yaml.safe_load(open(name))\n"
        "    secrets = [(secret, 'x') for secret in content['secrets']]\n"
        "    sky.Task.from_yaml_config(content, secrets_overrides=secrets)\n"
    )
    done = subprocess.run(
        [str(SKY / "python"), "-c", script, *files],
        cwd="/",
        env=dict(testbed.environment),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr


def test_one_environment_can_hold_both(testbed: Testbed) -> None:
    """`runner[sky]`: the command line works beside SkyPilot, with the older Click that it wants."""
    done = subprocess.run(
        [str(SKY / "runner"), "doctor", "--json"], env=dict(testbed.environment), capture_output=True, text=True
    )
    found = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert found["skypilot"]["state"] == "ok"


def _descendants(pid: int) -> list[int]:
    """Every process below one."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [one for child in map(int, children) for one in (child, *_descendants(child))]
