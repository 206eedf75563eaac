"""Runs on a real Slurm through real managed jobs: killed, superseded, failed, cancelled, and never a byte different."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.storage.open import open_store
from support.runs import outcome
from support.servers.s3 import SECRET_KEY
from support.slurm_bed import ROOT, RUNNER, SKY, Testbed

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


def together(name: str) -> dict[str, Any]:
    """A run that two processes share."""
    batch = {"per_device_train_batch_size": 2, "effective_batch_size": 4, "strategy": "ddp", "max_steps": 60}
    # With more threads on a node than a process has here, sums would be made in another order.
    return recipe(name, training={**recipe("")["training"], **batch}, sky={"envs": {"OMP_NUM_THREADS": "1"}})


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
    followed: "subprocess.Popen[str]"
    """The launch of `endless`, which shows how it goes."""
    on_cluster: "subprocess.Popen[str]"
    """The launch of `first` on a cluster that is to stay."""


@pytest.fixture(scope="module")
def runs(testbed: Testbed) -> Iterator["Runs"]:
    """Every run of this file, handed over at once: a machine takes a minute, and Slurm has six. One loses its own."""
    rows = testbed.folder / "rows.jsonl"
    rows.write_text((json.dumps({"prompt": "a b c " * 40, "completion": "d"}) + "\n") * 20)
    # Only the tokenizer, which is there, tells that nothing is left to train on.
    short = {**recipe("")["training"], "max_length": 8}
    failing = recipe("failing", data={"train": [{"path": str(rows)}]}, evaluate={}, training=short)
    endless = recipe("endless", training={**recipe("")["training"], "max_steps": 100_000})
    old = None
    wanted: list[tuple[dict[str, Any], tuple[str, ...]]] = [
        (recipe("outlived"), ("--gpu", "a100")),
        (recipe("scancelled"), ("--gpu", "t4")),
        (failing, ("--gpu", "t4")),
        (together("two-nodes"), ("--gpu", "t4", "--nodes", "2")),
    ]
    for what, machines in wanted:
        launch = ["launch", written(testbed, what), "--name", what["name"], *machines, "--infra", "slurm/testbed"]
        done = testbed.runner(*launch, "--detach", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["state"] in ("pending", "running")
        old = old or asleep(testbed, what["name"])
    assert old is not None
    where = ("--name", "endless", "--gpu", "a100", "--infra", "slurm/testbed")
    followed = testbed.start(RUNNER, "launch", written(testbed, endless), *where)
    on_cluster = testbed.start(*to_cluster(testbed, "first"))
    take_the_machine_away(testbed, "scancelled")
    yield Runs(testbed, old, followed, on_cluster)
    for process in (old, followed, on_cluster):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def take_the_machine_away(bed: Testbed, run_id: str) -> None:
    """Slurm ends the job that holds it, in the middle of training."""
    bed.until(run_id, lambda status: newest_step(status) >= EVERY)
    jobs = dict(line.split()[::-1] for line in bed.slurm("squeue", "--noheader", "--format=%i %j").splitlines())
    [job] = [number for name, number in jobs.items() if name.startswith(run_id)]
    bed.slurm("scancel", job)


def to_cluster(bed: Testbed, name: str) -> list[str]:
    """The command that launches a short run on a cluster."""
    path = written(bed, recipe(name, training={**recipe("")["training"], "max_steps": 4}))
    return [RUNNER, "launch", path, "--name", name, "--gpu", "a100", "--infra", "slurm/testbed", "--cluster", "bench"]


def asleep(bed: Testbed, run_id: str) -> "subprocess.Popen[str]":
    """An attempt at a run, on a machine that SkyPilot does not know of, put to sleep after its first checkpoint."""
    attempt = bed.start(*bed.attempt(bed.store.url, run_id, bed.folder / "old"))
    bed.until(run_id, lambda status: newest_step(status) >= EVERY)
    for pid in (attempt.pid, *_descendants(attempt.pid)):
        os.kill(pid, signal.SIGSTOP)
    return attempt


@pytest.fixture(scope="module")
def undisturbed(testbed: Testbed) -> dict[str, Any]:
    """How the run ends that nobody disturbs."""
    return made_here(testbed, "scancelled")


def made_here(bed: Testbed, run_id: str, *, processes: int = 1) -> dict[str, Any]:
    """The same run, here, from its beginning to its end, by the Python that the nodes have: the data are its docs."""
    document = json.loads(bed.store.get(f"runs/{run_id}/run.json"))
    store = open_store(str(bed.folder / "undisturbed"))
    store.create(f"runs/{run_id}/run.json", json.dumps(document).encode())
    for brought in bed.store.objects(f"runs/{run_id}/inputs/"):
        store.put(brought.key, bed.store.get(brought.key))
    command = bed.attempt(store.url, run_id, bed.folder / "work" / run_id)
    attempt = bed.start("env", f"RUNNER_PROCESSES={processes}", *command)
    said = attempt.communicate(timeout=1200)
    assert attempt.returncode == 0, said
    return outcome(store, run_id)


def newest_step(status: dict[str, Any]) -> int:
    return status["checkpoint_step"] or 0


def test_who_stops_looking_ends_nothing_and_what_was_ended_elsewhere_is_resumed(runs: Runs) -> None:
    """Ctrl-C while following; the job is taken away by SkyPilot's own hand; `resume` submits it again, for a T4 now."""
    bed = runs.bed
    bed.until("endless", lambda status: newest_step(status) >= EVERY)
    runs.followed.send_signal(signal.SIGINT)
    _, said = runs.followed.communicate(timeout=120)
    assert runs.followed.returncode == 130, said
    assert "endless goes on" in said
    assert "runner cancel endless" in said
    name = json.loads(bed.store.get("runs/endless/launches/0001.json"))["name"]
    done = bed.sky("jobs", "cancel", "--yes", "--name", name)
    assert done.returncode == 0, done.stderr
    bed.until("endless", lambda status: status["state"] == "interrupted")
    deadline = time.monotonic() + 600
    while (done := bed.runner("resume", "endless", "--gpu", "t4", "--detach")).returncode == 2:
        assert "SkyPilot still works on it: CANCELLING" in done.stderr
        assert time.monotonic() < deadline
        time.sleep(5)
    assert done.returncode == 0, done.stderr
    moved = json.loads(bed.store.get("runs/endless/launches/0002.json"))
    assert (moved["infra"], moved["accelerators"]) == ("slurm/testbed", {"T4": 1})
    bed.until("endless", lambda status: status["state"] == "running" and status["attempts"] >= 2)
    bed.until("endless", lambda status: (status["step"] or 0) > EVERY)
    assert "continues from step" in bed.runner("logs", "endless").stdout


def test_a_cancelled_run_leaves_nothing_behind(runs: Runs) -> None:
    """Neither in the store, which says so, nor on the cluster."""
    done = runs.bed.runner("cancel", "endless")
    assert done.returncode == 0, done.stderr
    assert runs.bed.status("endless")["state"] == "cancelled"
    assert json.loads(runs.bed.store.get("runs/endless/result.json"))["state"] == "cancelled"
    job = json.loads(runs.bed.store.get("runs/endless/launches/0002.job.json"))["job_id"]
    deadline = time.monotonic() + 600
    while "endless" in runs.bed.slurm("squeue", "--noheader", "--format=%j"):
        assert time.monotonic() < deadline
        time.sleep(1)
    while True:  # SkyPilot takes its time
        lines = runs.bed.sky("jobs", "queue").stdout.splitlines()
        [line] = [line for line in lines if line.split()[:1] == [str(job)]]
        if "CANCELLED" in line:
            break
        assert time.monotonic() < deadline, line
        time.sleep(3)  # asking costs two seconds of a core, which the others can use


def test_a_run_whose_machine_goes_away_ends_as_if_it_had_not(runs: Runs, undisturbed: dict[str, Any]) -> None:
    """Slurm has taken the allocation; the managed job finds another, and goes on."""
    done = runs.bed.runner("wait", "scancelled")
    assert done.returncode == 0, done.stderr
    assert runs.bed.status("scancelled")["attempts"] >= 2
    assert outcome(runs.bed.store, "scancelled") == undisturbed


def test_an_attempt_that_outlives_its_machine_spoils_nothing(runs: Runs, undisturbed: dict[str, Any]) -> None:
    """It sleeps through the beginning of the next one, wakes up, trains on and writes; nothing of that is read."""
    runs.bed.until("outlived", lambda status: status["attempts"] >= 2 and (status["step"] or 0) > EVERY)
    for pid in (runs.old.pid, *_descendants(runs.old.pid)):
        os.kill(pid, signal.SIGCONT)
    said = runs.old.communicate(timeout=600)
    assert runs.old.returncode == 75, said
    assert runs.bed.runner("wait", "outlived").returncode == 0
    ended = json.loads(runs.bed.store.get("runs/outlived/attempts/0001.ended.json"))
    assert ended["outcome"] == "superseded"
    assert outcome(runs.bed.store, "outlived") == undisturbed


def test_two_nodes_train_as_two_processes_of_one_machine_would(runs: Runs) -> None:
    """DDP between Slurm's nodes, each with its rank and the addresses that SkyPilot tells: the same bits."""
    expected = made_here(runs.bed, "two-nodes", processes=2)
    done = runs.bed.runner("wait", "two-nodes")
    assert done.returncode == 0, done.stderr
    claim = json.loads(runs.bed.store.get("runs/two-nodes/attempts/0001.json"))
    assert (claim["nodes"], claim["processes"]) == (2, 2)
    assert outcome(runs.bed.store, "two-nodes") == expected


def test_a_run_that_fails_says_why(runs: Runs) -> None:
    """The reason is the training's own, not an exit code of an engine."""
    done = runs.bed.runner("wait", "failing")
    status = runs.bed.status("failing")
    assert status["state"] == "failed", status
    assert "training.max_length" in status["reason"]
    assert done.returncode in (1, 2)


def test_a_cluster_stays_for_the_next_run(runs: Runs) -> None:
    """`--cluster`: the second launch finds the machine as the first has left it."""
    _, said = runs.on_cluster.communicate(timeout=1200)
    assert runs.on_cluster.returncode == 0, said
    _, *second = to_cluster(runs.bed, "second")
    done = runs.bed.runner(*second)
    assert done.returncode == 0, done.stderr
    assert [runs.bed.status(name)["state"] for name in ("first", "second")] == ["succeeded"] * 2
    listed = runs.bed.sky("status").stdout
    assert [line.split()[0] for line in listed.splitlines() if line.startswith("bench")] == ["bench"]


def test_a_run_that_began_here_goes_on_there(runs: Runs) -> None:
    """Ctrl-C here; `resume` with a machine of SkyPilot's takes the run there, where it ends as it would have here."""
    bed = runs.bed
    rows = bed.folder / "good.jsonl"
    rows.write_text(
        "".join(json.dumps({"prompt": f"{n} + {n} =", "completion": f" {2 * n}"}) + "\n" for n in range(40))
    )
    what = recipe("moved", data={"train": [{"path": str(rows)}]}, evaluate={})
    here = bed.start(*bed.of_the_nodes("runner"), "launch", written(bed, what), "--name", "moved")
    bed.until("moved", lambda status: newest_step(status) >= EVERY)
    here.send_signal(signal.SIGINT)
    _, said = here.communicate(timeout=120)
    assert here.returncode == 130, said
    done = bed.runner("resume", "moved", "--gpu", "a100", "--infra", "slurm/testbed", "--cluster", "bench")
    assert done.returncode == 0, done.stderr
    status = bed.status("moved")
    assert (status["state"], status["step"], status["attempts"]) == ("succeeded", STEPS, 2)
    assert "attempt 2 continues from step" in bed.runner("logs", "moved").stdout
    assert outcome(bed.store, "moved") == made_here(bed, "moved")


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
    """The extra `sky`: the command line works beside SkyPilot, with the older Click that it wants."""
    done = subprocess.run(
        [str(SKY / "runner"), "doctor", "--json"], env=dict(testbed.environment), capture_output=True, text=True
    )
    found = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert found["skypilot"]["state"] == "ok"


def _descendants(pid: int) -> list[int]:
    """Every process below one."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [one for child in map(int, children) for one in (child, *_descendants(child))]
