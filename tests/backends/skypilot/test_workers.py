"""A sweep's workers on SkyPilot: one request for all of them, found by name, and gone when they are said to be."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.backends.base import Placement, Reporter, ResourceOptions
from runner.backends.registry import worker_backend_for
from runner.backends.skypilot import client, workers
from runner.backends.skypilot.request import plan, remote_workers_task
from runner.backends.skypilot.workers import SkyPilotWorkers
from runner.backends.workers import SweepWorkers
from runner.errors import UserError
from runner.recipe.recipe import Data, DataSource, Recipe
from runner.runs.measured.prices import read_prices
from runner.storage.open import open_store
from runner.storage.store import Store
from runner.sweeps.workers.launches import WorkersLaunch, worker_launches, workers_name

KEYS = {"AWS_ACCESS_KEY_ID": "the-key", "AWS_SECRET_ACCESS_KEY": "the-secret"}
STORE = "s3://bucket/a b"
RECIPE = Recipe(
    name="r",
    method="sft",
    model={"model_name_or_path": "builtin:tiny-llama"},
    data=Data(train=(DataSource(path="builtin:python-docstrings"),)),
)


class FakeSky:
    """What `client.ask` answers, from jobs that end some questions after they were cancelled."""

    def __init__(self, *, ends_after: int = 2, refuses: str | None = None) -> None:
        self.jobs: dict[int, dict[str, Any]] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.ends_after = ends_after
        self.refuses = refuses

    def ask(self, question: str, **arguments: Any) -> Any:
        self.asked.append((question, arguments))
        if question == "launch":
            if self.refuses:
                raise client.SkyPilotSays("ResourcesUnavailableError", self.refuses)
            ids = [len(self.jobs) + number for number in range(1, arguments["num_jobs"] + 1)]
            self.jobs |= {
                number: {"name": arguments["task"]["name"], "status": "RUNNING", "left": None} for number in ids
            }
            return {"job_id": ids[0], "job_ids": ids}
        mine = {number: job for number, job in self.jobs.items() if job["name"] == arguments["name"]}
        for job in mine.values():
            if question == "cancel_named" and job["left"] is None:
                job.update(status="CANCELLING", left=self.ends_after)
            elif job["left"] is not None:
                job["left"] -= 1
                job["status"] = "CANCELLED" if job["left"] <= 0 else "CANCELLING"
        return {
            "jobs": [
                {"job_id": number, "status": job["status"], "reason": None, "ended": self.ended(job)}
                for number, job in mine.items()
            ]
        }

    @staticmethod
    def ended(job: dict[str, Any]) -> bool:
        return job["status"] in ("CANCELLED", "SUCCEEDED")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def sky(monkeypatch: pytest.MonkeyPatch) -> FakeSky:
    sky = FakeSky()
    monkeypatch.setattr(client, "ask", sky.ask)
    monkeypatch.setattr(client, "require_sky", lambda: "python")
    monkeypatch.setattr(workers, "_POLL_SECONDS", 0.01)
    return sky


def placed(options: ResourceOptions, image: str = "none") -> Placement:
    return plan(RECIPE, options, image)


def shared_folder(count: int = 3, **asked: Any) -> SweepWorkers:
    """Workers on a cluster that sees the folders of this machine."""
    return SweepWorkers(
        sweep_id="search", placement=placed(ResourceOptions(infra=("slurm/here",))), count=count, **asked
    )


def start(backend: SkyPilotWorkers, store: Store, said: list[str], count: int = 3) -> WorkersLaunch:
    request = backend.request(store.url, shared_folder(count), environment=["A_SECRET"])
    return backend.start(
        store, request, environment={"A_SECRET": "hush"}, detach=True, reporter=Reporter(say=said.append)
    )


def test_a_worker_gets_any_of_the_machines_and_no_secret_is_in_its_task() -> None:
    options = ResourceOptions(gpus=("L4", "A100"), infra=("aws", "gcp"), use_spot=True, max_hourly_cost=2.0)
    asked = SweepWorkers(sweep_id="search", placement=placed(options), sky={"envs": {"NCCL_DEBUG": "INFO"}})
    content, entry = remote_workers_task(asked, STORE, name="search-workers", secrets=["HF_TOKEN"], environ=KEYS)
    assert [one["infra"] for one in content["resources"]["any_of"]] == ["aws", "gcp"] * 2
    assert content["resources"]["use_spot"] is True
    assert content["resources"]["max_hourly_cost"] == 2.0
    assert content["resources"]["job_recovery"]["recover_on_exit_codes"] == [75]
    assert content["envs"]["NCCL_DEBUG"] == "INFO"
    assert content["envs"]["RUNNER_SECRET_NAMES"] == "AWS_ACCESS_KEY_ID,AWS_SECRET_ACCESS_KEY,HF_TOKEN"
    assert content["secrets"] == dict.fromkeys(["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN"])
    assert "the-secret" not in json.dumps(content)
    assert entry.required() == KEYS
    assert "-m runner.train.sweep_worker" in content["run"]
    assert "--store 's3://bucket/a b' --sweep search " in content["run"]
    (hook,) = content["config"]["hooks"]
    assert hook["events"] == ["preemption"]
    assert "[r]unner.train.sweep_worker .*--sweep search " in hook["run"]


@pytest.mark.parametrize("asked", [{"gpus_per_trial": 2}, {"trials_per_gpu": 3}])
def test_a_machine_for_several_trials_is_split_there(asked: dict[str, int]) -> None:
    machine = SweepWorkers(sweep_id="search", placement=placed(ResourceOptions(gpus=("A100:8",))), **asked)
    content, _ = remote_workers_task(machine, STORE, name="search-workers", environ=KEYS)
    (name, value), *_ = asked.items()
    assert "-m runner.backends.local.slots" in content["run"]
    assert f"--{name.replace('_', '-')} {value}" in content["run"]
    assert "[r]unner.backends.local.slots " in content["config"]["hooks"][0]["run"]


@pytest.mark.parametrize(
    ("gpus", "asked", "machines"),
    [
        (("L4",), {"count": 4}, 4),
        (("L4",), {"count": 5, "trials_per_gpu": 2}, 3),
        (("A100:8",), {"count": 8, "gpus_per_trial": 2}, 2),
        (("A100:8",), {"gpus_per_trial": 2}, 1),
        (("A100:8", "H100:4"), {"count": 4, "gpus_per_trial": 2}, 2),
        (("A100:8",), {"count": 2}, 2),
    ],
)
def test_there_are_as_many_machines_as_the_trials_at_once_need(
    gpus: tuple[str, ...], asked: dict[str, int], machines: int
) -> None:
    wanted = SweepWorkers(sweep_id="search", placement=placed(ResourceOptions(gpus=gpus), "registry/x:1"), **asked)
    assert SkyPilotWorkers().request("gs://bucket", wanted, environment=[]).count == machines


def test_a_machine_with_fewer_gpus_than_a_trial_needs_is_refused() -> None:
    wanted = SweepWorkers(sweep_id="search", placement=placed(ResourceOptions(gpus=("L4",))), gpus_per_trial=2)
    with pytest.raises(UserError, match="a trial needs 2 GPUs, and L4 has 1"):
        SkyPilotWorkers().request("gs://bucket", wanted, environment=[])


def test_a_task_reads_back_as_yaml() -> None:
    asked = SweepWorkers(sweep_id="search", placement=placed(ResourceOptions(gpus=("L4",)), "registry/x:1"), count=4)
    request = SkyPilotWorkers().request("gs://bucket", asked, environment=[])
    assert yaml.safe_load(request.as_text()) == request.as_json()["task"]
    assert request.as_json()["num_jobs"] == 4


def test_what_workers_cannot_be_is_refused() -> None:
    on_aws = SweepWorkers(sweep_id="search", placement=placed(ResourceOptions(infra=("aws",))))
    with pytest.raises(UserError, match="a folder of this machine"):
        SkyPilotWorkers().request("/home/me/runs", on_aws, environment=[])
    two = SweepWorkers(sweep_id="search", placement=placed(ResourceOptions(infra=("aws",), nodes=2)))
    with pytest.raises(UserError, match="one machine"):
        SkyPilotWorkers().request("gs://bucket", two, environment=[])
    with pytest.raises(UserError, match="1 to 500"):
        SkyPilotWorkers().request("gs://bucket", shared_folder(501), environment=[])


def test_all_workers_are_submitted_at_once(store: Store, sky: FakeSky) -> None:
    said: list[str] = []
    backend = worker_backend_for("slurm/here")
    assert isinstance(backend, SkyPilotWorkers)
    launch = start(backend, store, said, count=3)
    ((question, arguments),) = sky.asked
    assert (question, arguments["num_jobs"], arguments["task"]["name"]) == ("launch", 3, "search-workers")
    assert arguments["secrets"] == {"A_SECRET": "hush"}
    assert launch.started == {"job_ids": [1, 2, 3]}
    assert backend.status(store, launch).statuses == ["RUNNING"] * 3
    assert said[-1] == "SkyPilot has them: 3 machines called search-workers, on slurm/here"
    assert b"hush" not in b"".join(store.get(info.key) for info in store.objects("sweeps/"))


def test_stopped_workers_are_asked_for_until_none_is_left(store: Store, sky: FakeSky) -> None:
    backend = SkyPilotWorkers()
    start(backend, store, [])
    others = start(backend, store, [])
    (launch, _) = worker_launches(store, "search")
    status = backend.stop(store, launch, say=print, timeout_seconds=30)
    assert status.ended
    assert list(status.statuses) == ["CANCELLED"] * 3
    first, second = worker_launches(store, "search")
    assert first.ended is not None
    assert first.ended["status"] == "STOPPED"
    assert second.ended is None, "the workers of another launch have another name"
    assert backend.status(store, others).alive == 3


def test_workers_that_do_not_end_in_time_are_not_said_to_be_gone(store: Store, sky: FakeSky) -> None:
    sky.ends_after = 10**6
    backend = SkyPilotWorkers()
    launch = start(backend, store, [])
    status = backend.stop(store, launch, say=print, timeout_seconds=0.1)
    assert (status.ended, status.alive) == (False, 3)
    assert worker_launches(store, "search")[0].ended is None


def test_workers_are_found_although_the_process_that_launched_them_died(store: Store, sky: FakeSky) -> None:
    """It had written the name before it asked."""
    start(SkyPilotWorkers(), store, [])
    store.delete(["sweeps/search/launches/0001.started.json"])
    (launch,) = worker_launches(store, "search")
    assert launch.started is None
    assert SkyPilotWorkers().stop(store, launch, say=print, timeout_seconds=0.5).ended


def test_workers_that_have_ended_by_themselves_are_recorded(store: Store, sky: FakeSky) -> None:
    backend = SkyPilotWorkers()
    launch = start(backend, store, [])
    for job in sky.jobs.values():
        job["status"] = "SUCCEEDED"
    assert backend.status(store, launch).ended
    (seen,) = worker_launches(store, "search")
    assert seen.ended is not None
    assert seen.ended["status"] == "SUCCEEDED"


def test_a_refusal_is_skypilots_own_word_and_recorded(store: Store, sky: FakeSky) -> None:
    sky.refuses = "Cloud access is not set up. Run: sky check"
    with pytest.raises(UserError, match="SkyPilot says: Cloud access"):
        start(SkyPilotWorkers(), store, [])
    (launch,) = worker_launches(store, "search")
    assert launch.ended is not None
    assert launch.ended["status"] == "REFUSED"


def test_a_name_of_jobs_is_one_that_skypilot_takes() -> None:
    assert workers_name("1st.search-", 1) == "run-1st.search-workers"
    assert workers_name("search", 2) == "search-workers-2"


def test_where_no_catalog_knows_the_machines_no_prices_are_written(store: Store, sky: FakeSky) -> None:
    start(SkyPilotWorkers(), store, [])
    assert read_prices(store, "sweeps/search/launches/") is None
    assert [launch.number for launch in worker_launches(store, "search")] == [1]
