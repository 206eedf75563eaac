"""Which machines SkyPilot is asked for: the recipe's, as the command line changes them."""

from typing import Any

import pytest

from runner.backends.base import ResourceOptions
from runner.backends.registry import ANY, backend_for, infra_for
from runner.backends.skypilot.resources import describe_autostop, resolve_resources, with_autostop
from runner.errors import UserError


def test_a_recipe_alone_says_it_all() -> None:
    """Several accelerators become candidates; an attempt that was told to stop is started again."""
    asked = resolve_resources(
        {"accelerators": {"T4": 1, "A100": None}, "use_spot": True, "disk_size": 100}, ResourceOptions()
    )
    assert asked.resources == {
        "disk_size": 100,
        "use_spot": True,
        "job_recovery": {"recover_on_exit_codes": [75]},
        "any_of": [{"accelerators": "T4:1"}, {"accelerators": "A100:1"}],
    }
    assert (asked.infra, asked.num_nodes, asked.accelerators) == ("*", 1, {"T4": 1, "A100": 1})


def test_one_candidate_is_no_choice() -> None:
    """A single machine stands plainly."""
    asked = resolve_resources(
        {}, ResourceOptions(gpus=("a100:8",), infra=("aws/us-east-1",), nodes=2, max_hourly_cost=30)
    )
    assert asked.resources["accelerators"] == "A100:8"
    assert asked.resources["infra"] == "aws/us-east-1"
    assert asked.resources["max_hourly_cost"] == 30
    assert "any_of" not in asked.resources
    assert asked.num_nodes == 2


def test_each_gpu_on_each_infra() -> None:
    """Wishes that may be repeated are multiplied, without doubles."""
    asked = resolve_resources(
        {"accelerators": "T4:1"}, ResourceOptions(gpus=("l4", "A10G:4", "L4"), infra=("aws", "gcp"))
    )
    assert asked.resources["any_of"] == [
        {"infra": "aws", "accelerators": "L4:1"},
        {"infra": "gcp", "accelerators": "L4:1"},
        {"infra": "aws", "accelerators": "A10G:4"},
        {"infra": "gcp", "accelerators": "A10G:4"},
    ]
    assert asked.infra == "aws, gcp"


def test_an_order_stays_an_order() -> None:
    """SkyPilot tries a list, and `ordered`, from the first on."""
    assert "ordered" in resolve_resources({"accelerators": ["T4:1", "L4:1"]}, ResourceOptions()).resources
    in_order = [{"infra": "gcp", "accelerators": "L4"}, {"infra": "aws", "accelerators": "A10G"}]
    assert resolve_resources({"ordered": in_order}, ResourceOptions()).resources["ordered"] == [
        {"infra": "gcp", "accelerators": "L4:1"},
        {"infra": "aws", "accelerators": "A10G:1"},
    ]


def test_a_recipes_own_recovery_is_kept() -> None:
    """Its strategy and its codes stay, and ours is among them."""
    own = {"job_recovery": {"strategy": "FAILOVER", "max_restarts_on_errors": 2, "recover_on_exit_codes": 33}}
    assert resolve_resources(own, ResourceOptions()).resources["job_recovery"] == {
        "strategy": "FAILOVER",
        "max_restarts_on_errors": 2,
        "recover_on_exit_codes": [33, 75],
    }


def test_slurm_has_no_spot_machines() -> None:
    """A recipe's `use_spot` is for clouds; asking for it there is a mistake."""
    recipe = {"accelerators": "T4:1", "use_spot": True}
    assert "use_spot" not in resolve_resources(recipe, ResourceOptions(infra=("slurm/here",))).resources
    assert resolve_resources(recipe, ResourceOptions(infra=("slurm/here", "aws"))).resources["use_spot"] is True
    with pytest.raises(UserError, match="no spot machines"):
        resolve_resources(recipe, ResourceOptions(infra=("slurm/here",), use_spot=True))


def test_what_does_not_fit_is_left_out_and_said() -> None:
    """Where nothing is left, that is an error with every reason."""
    recipe = {"accelerators": {"T4": 1, "A100": 1}}
    asked = resolve_resources(
        recipe, ResourceOptions(), fits=lambda name, count: "needs 20 GiB" if name == "T4" else None
    )
    assert asked.resources["accelerators"] == "A100:1"
    assert asked.notes == ("left out T4:1: needs 20 GiB",)
    with pytest.raises(UserError, match=r"T4:1: too small\n  A100:1: too small"):
        resolve_resources(recipe, ResourceOptions(), fits=lambda name, count: "too small")


def test_a_name_that_is_none_is_a_mistake() -> None:
    """Of a GPU, and of an infra."""
    with pytest.raises(UserError, match="--gpu"):
        resolve_resources({}, ResourceOptions(gpus=("A1000",)))
    with pytest.raises(UserError, match="unknown infra"):
        resolve_resources({}, ResourceOptions(infra=("aws us-east-1",)))


def test_here_or_elsewhere() -> None:
    """A GPU without an infra means: wherever SkyPilot finds one; both at once mean nothing."""
    assert infra_for(ResourceOptions(), None) == "local"
    assert infra_for(ResourceOptions(infra=("docker",)), None) == "docker"
    assert infra_for(ResourceOptions(gpus=("T4",)), None) == ANY
    assert infra_for(ResourceOptions(), "mine") == ANY
    assert infra_for(ResourceOptions(infra=("aws/us-east-1",)), None) == "aws/us-east-1"
    for infra in (ANY, "aws/us-east-1", "aws, gcp", "slurm/here"):
        assert not backend_for(infra).supervised_here
    local = backend_for("local")
    with pytest.raises(UserError, match="takes no --spot"):
        local.check(ResourceOptions(infra=("local",), use_spot=True), cluster=None, image=None)
    both = ResourceOptions(infra=("aws", "local"))
    assert infra_for(both, None) == "local"
    with pytest.raises(UserError, match="takes no --infra"):
        local.check(both, cluster=None, image=None)


@pytest.mark.parametrize(
    ("recipe", "options", "autostop", "said"),
    [
        ({}, {"infra": ("aws",)}, {"idle_minutes": 10}, "is stopped after 10 minutes idle"),
        ({}, {"infra": ("aws",), "use_spot": True}, {"idle_minutes": 10, "down": True}, "is removed after 10 minutes"),
        ({}, {"infra": ("k8s",)}, {"idle_minutes": 10, "down": True}, "is removed after 10 minutes idle"),
        ({}, {}, {"idle_minutes": 10, "down": True}, "is removed after 10 minutes idle"),
        ({}, {"infra": ("slurm/here",)}, None, "since Slurm has no autostop"),
        ({"autostop": 45}, {"infra": ("aws",)}, 45, "is stopped after 45 minutes idle"),
        ({"autostop": "2h"}, {"infra": ("aws",)}, "2h", "is stopped after 2h idle"),
        ({"autostop": True}, {"infra": ("aws",)}, True, "is stopped when it is idle"),
        ({"autostop": {"idle_minutes": 5, "down": True}}, {}, {"idle_minutes": 5, "down": True}, "is removed after 5"),
        ({"autostop": False}, {"infra": ("aws",)}, False, "stays, and costs"),
        ({"any_of": [{"infra": "aws", "autostop": 7}]}, {}, 7, "is stopped after 7 minutes idle"),
    ],
)
def test_a_cluster_gets_an_autostop_and_what_becomes_of_it_is_said(
    recipe: dict[str, Any], options: dict[str, Any], autostop: Any, said: str
) -> None:
    machines = resolve_resources(recipe, ResourceOptions(**options))
    resources = with_autostop(machines)
    assert resources.get("autostop") == autostop
    sentence = describe_autostop(resources, machines, "mine")
    assert said in sentence
    assert "`sky down mine` removes it" in sentence


def test_a_gpu_that_only_the_catalogs_have_goes_as_it_stands_and_is_said() -> None:
    asked = resolve_resources({}, ResourceOptions(gpus=("a5000",)))
    assert asked.resources["accelerators"] == "A5000:1"
    assert any("A5000 goes to SkyPilot as it stands" in note for note in asked.notes)


@pytest.mark.parametrize(
    ("written", "spelled"),
    [("8xH100", "H100:8"), ("NVIDIA L4", "L4:1"), ("Tesla T4:4", "T4:4"), ("A100 80GB", "A100-80GB:1")],
)
def test_other_spellings_are_understood_and_said(written: str, spelled: str) -> None:
    """By the option and in the recipe alike."""
    by_option = resolve_resources({}, ResourceOptions(gpus=(written,)))
    by_recipe = resolve_resources({"accelerators": written}, ResourceOptions())
    assert by_option.resources["accelerators"] == by_recipe.resources["accelerators"] == spelled
    assert any(f"is read as {spelled}" in note for note in by_recipe.notes)


def test_what_the_recipe_names_and_nobody_knows_goes_as_it_stands() -> None:
    """Kubernetes clusters have names of their own; a slip is asked about."""
    asked = resolve_resources({"accelerators": {"h10": 1, "our-own-card": 2}}, ResourceOptions())
    assert asked.accelerators == {"h10": 1, "our-own-card": 2}
    assert [note for note in asked.notes if "did you mean `H100`" in note]
