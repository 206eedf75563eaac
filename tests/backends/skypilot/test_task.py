"""A run's SkyPilot task: built purely, whole by itself, without a secret in it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.backends.skypilot.bootstrap import setup_folder
from runner.backends.skypilot.request import plan, remote_task
from runner.backends.skypilot.resources import ResolvedResources, ResourceOptions, resolve_resources
from runner.backends.skypilot.store_access import access
from runner.backends.skypilot.task import TaskContext, task, task_yaml
from runner.control.launch import LaunchOptions, render
from runner.errors import UserError
from runner.recipe.recipe import Data, DataSource, Recipe
from runner.runs.submission.run_json import run_json
from support.paths import ROOT

KEYS = {"AWS_ACCESS_KEY_ID": "the-key", "AWS_SECRET_ACCESS_KEY": "the-secret"}


def recipe(**more: Any) -> Recipe:
    return Recipe(
        name="r",
        method="sft",
        model={"model_name_or_path": "builtin:tiny-llama"},
        data=Data(train=(DataSource(path="builtin:python-docstrings"),)),
        **more,
    )


def document(what: Recipe, asked: ResolvedResources, run_id: str = "r-1") -> dict[str, Any]:
    settings = {
        "training.seed": {"value": 42, "source": "default"},
        "training.max_steps": {"value": 3, "source": "--set"},
    }
    return run_json(
        run_id=run_id,
        recipe=json.loads(json.dumps(what.to_mapping())),
        settings=settings,
        recipe_digest="d",
        git_revision=None,
        created_at="2026-11-21T00:00:00+00:00",
        infra=asked.infra,
        machines=asked,
    )


def test_the_examples_are_what_is_rendered() -> None:
    """`sky/` holds the shipped recipes' tasks on a T4, an A100, eight of them, and two nodes."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/render_tasks.py"), "--check"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_a_task_brings_the_runs_record_along() -> None:
    """It reads back as it was; of the settings, what the command line changed goes along."""
    record = document(recipe(), resolve_resources({}, ResourceOptions(gpus=("T4",))))
    text = task_yaml(task(record, TaskContext(store_url="s3://bucket/a b")))
    content = yaml.safe_load(text)
    assert yaml.safe_load(content["envs"]["RUNNER_RUN"]) == {
        **record,
        "settings": {"training.max_steps": {"value": 3, "source": "--set"}},
    }
    assert "--store 's3://bucket/a b' --run r-1 " in content["run"]
    assert "num_nodes" not in content


def test_a_name_that_skypilot_would_refuse_is_changed() -> None:
    """Its names begin with a letter and end in a letter or digit."""
    asked = resolve_resources({}, ResourceOptions())
    assert task(document(recipe(), asked, "1st-run."), TaskContext(store_url="s3://b"))["name"] == "run-1st-run"


def test_a_recipes_own_keys_are_laid_in() -> None:
    """Its setup comes first, its variables and mounts are there, its hooks stay."""
    own = {
        "setup": "echo mine",
        "envs": {"NCCL_DEBUG": "INFO"},
        "secrets": {"HF_TOKEN": None},
        "file_mounts": {"/data": "s3://data"},
        "config": {"hooks": [{"run": "echo bye", "events": ["down"]}], "docker": {"run_options": ["--ipc=host"]}},
    }
    record = document(recipe(sky=own), resolve_resources({}, ResourceOptions(nodes=2)))
    content = task(record, TaskContext(store_url="s3://b", secrets=["WANDB_API_KEY"], setup_from="/made/here"))
    assert content["setup"] == "echo mine\nbash ~/runner-setup/setup.sh\n"
    assert content["envs"]["NCCL_DEBUG"] == "INFO"
    assert content["envs"]["RUNNER_SECRET_NAMES"] == "HF_TOKEN,WANDB_API_KEY"
    assert content["secrets"] == {"HF_TOKEN": None, "WANDB_API_KEY": None}
    assert content["file_mounts"] == {"/data": "s3://data", "~/runner-setup": "/made/here"}
    assert [hook["events"] for hook in content["config"]["hooks"]] == [["down"], ["preemption"]]
    assert content["config"]["docker"] == {"run_options": ["--ipc=host"]}
    assert content["num_nodes"] == 2


def test_no_value_of_a_secret_is_in_a_task() -> None:
    """Names are; an endpoint is no secret."""
    record = document(recipe(), resolve_resources({}, ResourceOptions(gpus=("T4",))))
    environ = {**KEYS, "AWS_ENDPOINT_URL": "https://objects.example.com"}
    content, entry = remote_task(record, "s3://bucket", environ=environ)
    text = task_yaml(content)
    assert "the-key" not in text
    assert "the-secret" not in text
    assert content["secrets"] == dict.fromkeys(KEYS)
    assert content["envs"]["AWS_ENDPOINT_URL"] == "https://objects.example.com"
    assert entry.required() == KEYS


def test_a_machine_of_the_stores_cloud_has_a_role() -> None:
    """Keys go along only where a role would not do."""
    on_aws, anywhere = (
        resolve_resources({}, ResourceOptions(infra=infra)) for infra in (("aws", "aws/us-east-1"), ("aws", "gcp"))
    )
    assert access("s3://bucket", on_aws, KEYS).secrets == {}
    assert access("s3://bucket", on_aws, {**KEYS, "AWS_ENDPOINT_URL": "https://elsewhere"}).secrets == KEYS
    assert access("s3://bucket", anywhere, {**KEYS, "AWS_SESSION_TOKEN": "t"}).required() == {
        **KEYS,
        "AWS_SESSION_TOKEN": "t",
    }


def test_a_folder_is_seen_on_a_cluster_that_shares_it_only() -> None:
    """Elsewhere the message says what to name instead."""
    assert access("/shared/runs", resolve_resources({}, ResourceOptions(infra=("slurm/here",))), {}).secrets == {}
    with pytest.raises(UserError, match=r"--store s3://"):
        access("/home/me/runs", resolve_resources({}, ResourceOptions(infra=("aws",))), {})


def test_an_image_stands_for_the_setup(monkeypatch: pytest.MonkeyPatch) -> None:
    """RUNNER_IMAGE names one for all; `none` sets the machine up; an image of this machine alone is refused."""
    monkeypatch.setenv("RUNNER_IMAGE", "registry.example.com/team/runner:cuda")
    with_image = plan(recipe(), ResourceOptions(gpus=("T4",)), None)
    content, _ = remote_task(document(recipe(), with_image.machines), "s3://bucket", environ=KEYS)
    assert content["resources"]["image_id"] == "docker:registry.example.com/team/runner:cuda"
    assert "setup" not in content
    assert content["envs"]["RUNNER_IMAGE"] == "registry.example.com/team/runner:cuda", "for the record of the machine"
    without = plan(recipe(), ResourceOptions(gpus=("T4",)), "none")
    content, _ = remote_task(document(recipe(), without.machines), "s3://bucket", environ=KEYS)
    assert content["setup"] == "bash ~/runner-setup/setup.sh\n"
    assert "RUNNER_IMAGE" not in content["envs"]
    with pytest.raises(UserError, match="this machine alone"):
        plan(recipe(), ResourceOptions(), "sha256:0123")


def test_what_a_machine_is_set_up_from_is_whole_and_runs(tmp_path: Path) -> None:
    """The source that goes along is a package that works by itself; a second look finds the same folder."""
    folder = setup_folder()
    assert setup_folder() == folder
    assert {"cpu.lock", "cuda.lock", "setup.sh", "source"} <= {path.name for path in folder.iterdir()}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "runner.train.entrypoint", "--help"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(folder / "source")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "--give-up-after" in done.stdout


def test_variables_of_the_recipe_do_not_send_a_machine_to_itself() -> None:
    own = {"envs": {"AWS_ENDPOINT_URL": "http://localhost:9000"}}
    record = document(recipe(sky=own), resolve_resources({}, ResourceOptions(gpus=("T4",))))
    with pytest.raises(UserError, match=r"sky\.envs: AWS_ENDPOINT_URL names this machine"):
        remote_task(record, "s3://bucket", environ=KEYS)


def test_credentials_in_an_endpoint_are_refused_and_not_shown() -> None:
    anywhere = resolve_resources({}, ResourceOptions())
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        with pytest.raises(UserError, match=f"{name}: credentials must not stand in an endpoint") as refused:
            access("s3://bucket", anywhere, {**KEYS, name: "https://me:hunter2@host"})
        assert "hunter2" not in str(refused.value)


def test_credentials_in_a_store_s_url_are_not_rendered(tmp_path: Path) -> None:
    options = LaunchOptions(recipe="quickstart", resources=ResourceOptions(gpus=("L4",)), cwd=tmp_path)
    with pytest.raises(UserError, match="must hold no credentials") as refused:
        render("s3://key:hunter2@bucket/x", options, say=lambda text: None)
    assert "hunter2" not in str(refused.value)
