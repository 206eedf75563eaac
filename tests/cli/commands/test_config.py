"""`runner config`: what is settled once for all launches, who wins over it, and where `list` says it comes from."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.backends.base import ResourceOptions
from runner.backends.registry import infra_for
from runner.control.launching.settled import settled_resources
from support.bench import Bench

RECIPE = """
name: small
method: sft
model: {{model_name_or_path: "builtin:tiny-llama"}}
data:
  train: [{{path: "builtin:python-docstrings"}}]
training: {{max_steps: 10}}
resources: {resources}
"""


def file_of(bench: Bench) -> Path:
    return bench.folder / "config/runner/config.toml"


def settle(bench: Bench, **values: str) -> None:
    for name, value in values.items():
        done = bench.runner("config", "set", name, value)
        assert done.returncode == 0, done.stderr


def rendered(bench: Bench, *options: str, resources: Any = None, env: dict[str, str] | None = None) -> dict[str, Any]:
    """The `resources` of the task that a launch with these options would send."""
    (bench.folder / "small.yaml").write_text(RECIPE.format(resources=json.dumps(resources or {})))
    done = bench.runner("render", "small.yaml", "--store", "s3://bucket-of-tests/x", *options, env=env or {})
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = yaml.safe_load(done.stdout)["resources"]
    return found


def infra_of(asked: ResourceOptions, **resources: Any) -> str:
    """The infra of a launch that asks for these machines, of a recipe with these `resources`."""
    return infra_for(settled_resources(asked, resources), None)


def test_what_is_set_is_got_and_listed_with_its_source(bench: Bench) -> None:
    settle(bench, gpu="L4, A10G", max_cost="$20", project="mine", store="first")
    settle(bench, store="second")
    assert tomllib.loads(file_of(bench).read_text()) == {
        "store": "second",
        "gpu": ["L4", "A10G"],
        "project": "mine",
        "max-cost": 20.0,
    }
    assert bench.runner("config", "get", "gpu").stdout == "L4,A10G\n"
    assert bench.runner("config", "get", "image").stdout == ""
    listed = json.loads(bench.runner("config", "list", "--json", env={"RUNNER_GPU": "H100"}).stdout)
    by_name = {row["name"]: row for row in listed}
    assert by_name["gpu"] == {"name": "gpu", "value": ["H100"], "source": "RUNNER_GPU", "hidden": ["L4", "A10G"]}
    assert by_name["store"]["source"] == "RUNNER_STORE"  # the bench sets it
    assert by_name["max-cost"]["source"] == str(file_of(bench))
    assert by_name["image"]["source"] == "default"
    table = bench.runner("config", "list", env={"RUNNER_GPU": "H100"}).stdout
    assert "wins over L4,A10G of the file" in table
    assert bench.runner("config", "unset", "gpu").returncode == 0
    assert "gpu" not in tomllib.loads(file_of(bench).read_text())
    assert "gpu was not set" in bench.runner("config", "unset", "gpu").stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("set", "stroe", "x"), "did you mean `store`?"),
        (("get", "colour"), "there are store, infra, gpu, image, project, max-cost"),
        (("unset", "imag"), "did you mean `image`?"),
        (("set", "max-cost", "much"), "is not an amount above 0\n  write `runner config set max-cost 20`"),
        (("set", "max-cost", "0"), "is not an amount above 0"),
        (("set", "max-cost", "nan"), "is not an amount above 0"),
        (("set", "gpu", ","), "is not a list of names"),
        (("set", "store", ""), "is not a text"),
    ],
)
def test_a_mistake_is_refused_and_nothing_is_written(bench: Bench, arguments: tuple[str, ...], said: str) -> None:
    done = bench.runner("config", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert not file_of(bench).exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gpu = [", "is not TOML"),
        ("gpus = ['L4']", "did you mean `gpu`?"),
        ("max-cost = 'x'", "is not an amount above 0"),
    ],
)
def test_a_file_that_is_wrong_is_named_by_every_command_that_reads_it(bench: Bench, text: str, said: str) -> None:
    file_of(bench).parent.mkdir(parents=True)
    file_of(bench).write_text(text)
    bench.recipe()
    for arguments in (("config", "list"), ("launch", "small.yaml", "--dry-run")):
        done = bench.runner(*arguments)
        assert done.returncode == 2, done
        assert said in done.stderr
        assert str(file_of(bench)) in done.stderr


def test_the_store_of_the_file_is_used_where_no_option_and_no_variable_says_another(bench: Bench) -> None:
    bench.submit("run-here")
    settle(bench, store=bench.store.url)
    nowhere = str(bench.folder / "empty")
    for env, options, found in [
        ({"RUNNER_STORE": ""}, (), True),
        ({"RUNNER_STORE": nowhere}, (), False),
        ({"RUNNER_STORE": ""}, ("--store", nowhere), False),
    ]:
        done = bench.runner("ps", "--json", *options, env=env)
        assert ("run-here" in done.stdout) is found, (env, options, done.stderr)


def test_gpus_image_and_infra_follow_option_then_variable_then_recipe_then_file(bench: Bench) -> None:
    settle(bench, gpu="L4", infra="aws", image="registry.example/of-file:1")
    assert rendered(bench) == rendered(bench, "--gpu", "L4", "--infra", "aws", "--image", "registry.example/of-file:1")
    own = {"accelerators": "A10G:1", "infra": "gcp"}
    assert rendered(bench, resources=own)["infra"] == "gcp"
    assert "A10G" in json.dumps(rendered(bench, resources=own)["accelerators"])
    env = {"RUNNER_GPU": "A100", "RUNNER_INFRA": "azure", "RUNNER_IMAGE": "registry.example/of-variable:1"}
    by_variable = rendered(bench, resources=own, env=env)
    assert (by_variable["infra"], by_variable["image_id"]) == ("azure", "docker:registry.example/of-variable:1")
    assert "A100" in json.dumps(by_variable["accelerators"])
    option = rendered(bench, "--gpu", "H100", "--infra", "lambda", "--image", "none", resources=own, env=env)
    assert option["infra"] == "lambda"
    assert "H100" in json.dumps(option["accelerators"])
    assert "image_id" not in option
    assert rendered(bench, resources={"image_id": "docker:registry.example/of-recipe:1"})["image_id"].endswith(
        "of-recipe:1"
    )


def test_a_launch_goes_where_the_file_says_and_gpus_alone_send_it_nowhere(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = ResourceOptions()
    settle(bench, gpu="L4")
    assert infra_of(nothing) == "local"
    assert settled_resources(ResourceOptions(infra=("aws",)), {}).gpus == ("L4",)
    assert settled_resources(ResourceOptions(infra=("local",)), {}).gpus == ()
    assert settled_resources(ResourceOptions(infra=("aws",)), {"any_of": [{"accelerators": "T4"}]}).gpus == ()
    settle(bench, infra="aws")
    assert infra_of(nothing) == "aws"
    assert infra_of(ResourceOptions(infra=("local",))) == "local"
    elsewhere = settled_resources(nothing, {"infra": "gcp"})
    assert (infra_for(elsewhere, None), elsewhere.infra) == ("*", ()), "through SkyPilot, where the recipe says"
    settle(bench, infra="local")
    assert infra_of(nothing, infra="gcp") == "local"
    assert infra_of(ResourceOptions(gpus=("A100",))) == "*", "--gpu goes elsewhere all the same"
    assert infra_of(ResourceOptions(use_spot=True)) == "*"
    monkeypatch.setenv("RUNNER_INFRA", "kubernetes")
    assert infra_of(nothing, infra="gcp") == "kubernetes"


def test_a_limit_is_kept_where_the_machines_have_a_price_and_holds_up_no_run_here(bench: Bench) -> None:
    settle(bench, max_cost="7")
    bench.recipe()
    free = bench.runner("launch", "small.yaml", "--name", "free")
    assert free.returncode == 0, free.stderr
    assert "budget" not in json.loads(bench.store.get("runs/free/run.json"))
    priced = bench.runner("launch", "small.yaml", "--name", "priced", "--hourly-cost", "1")
    assert priced.returncode == 0, priced.stderr
    assert json.loads(bench.store.get("runs/priced/run.json"))["budget"]["max_cost"] == 7.0
    less = bench.runner("launch", "small.yaml", "--name", "less", "--hourly-cost", "1", env={"RUNNER_MAX_COST": "3"})
    assert json.loads(bench.store.get("runs/less/run.json"))["budget"]["max_cost"] == 3.0, less.stderr
    wrong = bench.runner("launch", "small.yaml", env={"RUNNER_MAX_COST": "lots"})
    assert (wrong.returncode, "RUNNER_MAX_COST: is not an amount" in wrong.stderr) == (2, True)


def test_the_project_reaches_the_run_as_wandbs_variable(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from runner.backends.environment import chosen_environment

    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    assert chosen_environment([], []) == {}
    settle(bench, project="mine")
    assert chosen_environment([], []) == {"WANDB_PROJECT": "mine"}
    monkeypatch.setenv("WANDB_PROJECT", "another")
    assert chosen_environment([], []) == {}  # the process's own is inherited, or named with --secret
    assert chosen_environment([], ["WANDB_PROJECT"])["WANDB_PROJECT"] == "another"
    bench.runner("config", "unset", "project")
    monkeypatch.delenv("WANDB_PROJECT")
    assert chosen_environment([], [], needed=["WANDB_PROJECT"]) == {}, "a run can be resumed where it is not settled"
