"""A run goes on elsewhere than where it began; its record stays, and its newest launch says where it is."""

import json

from runner.backends.base import ResourceOptions
from runner.backends.skypilot.request import plan, plan_again
from runner.recipe.recipe import Data, DataSource, Recipe
from runner.runs.launches import launch_record, newest_launch, note_ended, note_launch, run_placement
from runner.runs.records import run_document
from runner.runs.status import run_status
from support.bench import Bench
from support.fakes.fake_hub import GOOD_TOKEN, hub

AWS = {
    "infra": "aws",
    "accelerators": {"T4": 1},
    "resources": {"infra": "aws", "accelerators": "T4:1", "use_spot": True},
    "num_nodes": 1,
    "image": None,
}


def test_what_is_not_asked_for_anew_stays_as_it_was() -> None:
    recipe = Recipe(
        name="small",
        method="sft",
        model={"model_name_or_path": "builtin:tiny-llama"},
        data=Data(train=(DataSource(path="builtin:python-docstrings"),)),
        resources={"cpus": "4+"},
    )
    first = plan(
        recipe, ResourceOptions(gpus=("a100", "l4"), infra=("aws",), nodes=2, use_spot=True), "registry/runner:1"
    )
    before = {"recipe": recipe.to_mapping(), **first.fields()}
    again = plan_again(before, ResourceOptions(use_spot=False), None)
    assert again.machines.accelerators == {"A100": 1, "L4": 1}
    assert (again.machines.infra, again.machines.num_nodes, again.image) == ("aws", 2, "registry/runner:1")
    assert again.machines.resources["use_spot"] is False
    elsewhere = plan_again({**before, **again.fields()}, ResourceOptions(gpus=("h100",), infra=("gcp",)), "none")
    assert (elsewhere.machines.infra, elsewhere.machines.accelerators, elsewhere.image) == ("gcp", {"H100": 1}, None)
    assert "image_id" not in elsewhere.machines.resources
    assert elsewhere.machines.resources["cpus"] == "4+"


def taken_to_a_cloud(bench: Bench, *, ended: bool) -> None:
    """A run that was interrupted here, and then handed to SkyPilot, which has given up, or may not have."""
    bench.recipe()
    assert bench.runner("launch", "small.yaml", "--name", "try", plan={"1": ["stop", 3]}).returncode == 75
    launch = note_launch(bench.store, "try", launch_record(AWS, engine="skypilot", cluster=None, environment=["TOKEN"]))
    if ended:
        note_ended(bench.store, launch, status="FAILED_NO_RESOURCE", reason="no T4 anywhere")


def test_where_a_run_is_is_what_its_newest_launch_says(bench: Bench) -> None:
    taken_to_a_cloud(bench, ended=True)
    status = run_status(bench.store, "try")
    assert (status.infra, status.accelerators, status.retry) == ("aws", {"T4": 1}, False)
    assert "SkyPilot: FAILED_NO_RESOURCE: no T4 anywhere" in str(status.reason)
    assert run_document(bench.store, "try")["infra"] == "local"
    listed = json.loads(bench.runner("ps", "--json").stdout)
    assert [(run["run_id"], run["infra"]) for run in listed] == [("try", "aws")]


def test_a_run_comes_back_from_a_cloud_and_ends_here(bench: Bench) -> None:
    """With the variables that it was given there; and then it is here, whoever asks."""
    taken_to_a_cloud(bench, ended=True)
    launched = bench.runner("launch", "small.yaml", "--name", "try")
    assert launched.returncode == 2, launched
    assert "`runner resume try --infra local` continues it here" in launched.stderr
    refused = bench.runner("resume", "try", "--infra", "local")
    assert refused.returncode == 2
    assert "TOKEN is not set" in refused.stderr
    assert run_placement(bench.store, "try")["infra"] == "aws"
    done = bench.runner("resume", "try", "--infra", "local", env={"TOKEN": "hunter2"}, plan={"2": ["stop", 6]})
    assert done.returncode == 75, done
    newest = newest_launch(bench.store, "try")
    assert newest is not None
    assert (newest.number, newest.is_skypilots, newest.record["infra"]) == (2, False, "local")
    assert run_status(bench.store, "try").infra == "local"
    assert bench.runner("resume", "try", env={"TOKEN": "hunter2"}).returncode == 0
    assert run_status(bench.store, "try").state == "succeeded"


def test_nobody_takes_a_run_from_skypilot(bench: Bench) -> None:
    """What may still have a job there stays, as long as SkyPilot cannot be asked."""
    taken_to_a_cloud(bench, ended=False)
    done = bench.runner("resume", "try", "--infra", "local", env={"TOKEN": "x", "PATH": "/usr/bin:/bin"})
    assert done.returncode == 2, done
    assert "SkyPilot, which finds machines elsewhere, is not installed" in done.stderr
    assert run_placement(bench.store, "try")["infra"] == "aws"


def test_a_store_that_a_cloud_cannot_reach_keeps_the_run_here(bench: Bench) -> None:
    bench.recipe()
    assert bench.runner("launch", "small.yaml", "--name", "try", plan={"1": ["stop", 3]}).returncode == 75
    done = bench.runner("resume", "try", "--gpu", "t4", "--infra", "aws")
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    assert newest_launch(bench.store, "try") is None
    contradiction = bench.runner("resume", "try", "--infra", "local", "--spot")
    assert contradiction.returncode == 2
    assert "takes no --spot" in contradiction.stderr


def test_what_cannot_be_had_elsewhere_is_refused_before_the_move(bench: Bench) -> None:
    """As by a launch: a gated model, and a repository to push to, need the token there too."""
    recipe = bench.recipe()
    gated = recipe.read_text().replace("builtin:tiny-llama", "someone/gated")
    recipe.write_text(gated + "export: {push_to_hub: true, hub_model_id: me/small}\n")
    with hub() as server:
        at_hub = {"HF_ENDPOINT": server.endpoint, "HF_DATASETS_SERVER": server.endpoint, "HF_HUB_OFFLINE": "0"}
        known = {**at_hub, "HF_TOKEN": GOOD_TOKEN}
        launched = bench.runner("launch", "small.yaml", "--name", "try", env=known, plan={"1": ["stop", 3]})
        assert launched.returncode == 75, launched
        refused = bench.runner("resume", "try", "--infra", "local", env=at_hub)
        assert (refused.returncode, "pushing to the hub needs a token" in refused.stderr) == (2, True), refused
        refused = bench.runner("resume", "try", "--infra", "local", env={**at_hub, "HF_TOKEN": "hf_bad"})
        assert refused.returncode == 2, refused
        assert "try: model.model_name_or_path: " in refused.stderr
        assert "does not accept the HF_TOKEN" in refused.stderr
        assert newest_launch(bench.store, "try") is None
        assert bench.runner("resume", "try", "--infra", "local", env=known).returncode == 0
