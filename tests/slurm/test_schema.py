"""What a recipe's `resources` may say is what SkyPilot itself takes there."""

import json
import subprocess
from typing import Any

import pytest
from jsonschema import Draft7Validator

from support.paths import ROOT
from support.slurm_bed import SKY

pytestmark = pytest.mark.slurm

OURS = "gpus"
"""Another word for `accelerators`, which SkyPilot itself takes in its task only."""

STRICTER = {
    "any_of": "no machine at all",
    "ordered": "no machine at all",
    "accelerators": "a number of GPUs below one; no GPU is said by leaving it out",
    "disk_tier": "a word that SkyPilot refuses only when it plans",
    "max_hourly_cost": "nothing, or less",
    "network_tier": "a word that SkyPilot refuses only when it plans",
}
"""What we refuse though SkyPilot's schema takes it."""

LAXER = {
    "accelerators": "null, which is not rendered",
    "cloud": "any: which ones there are is SkyPilot's affair, and its refusal names them",
    "infra": "any, likewise",
    "job_recovery": "null, for which ours is rendered",
}
"""What we take though SkyPilot's schema refuses it."""

VALUES: list[Any] = [
    *(None, True, 0, 5, -1, 2000, 1.5),
    *(
        "x",
        "8+",
        "64",
        "64GB",
        "64 GB",
        "1TB",
        "low",
        "best",
        "standard",
        "10h",
        "10x",
        "A100:8",
        "aws",
        "aws/us-east-1",
        "*",
    ),
    *([], ["a"], [1], [{}], [1.5]),
    *(
        {},
        {"A100": 1},
        {"A100": 0},
        {"A100": -1},
        {"A100": "x"},
        {"a": "b"},
        {"idle_minutes": 5},
        {"idle_minutes": "x"},
    ),
    *({"strategy": "failover"}, {"max_restarts_on_errors": -1}, {"recover_on_exit_codes": [300]}, {"tpu_vm": True}),
]

SCRIPT = """
import json, sys
from sky.utils import schemas, validator
schema = schemas.get_resources_schema()
check = validator.get_schema_validator()(schema)
values = json.load(sys.stdin)
takes = {key: [check.is_valid({key: value}) for value in values] for key in schema["properties"]}
print(json.dumps(takes))
"""


def test_recipes_take_what_skypilot_takes_and_refuse_what_it_refuses() -> None:
    done = subprocess.run(
        [str(SKY / "python"), "-c", SCRIPT],
        input=json.dumps(VALUES),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    skypilots = {
        key: taken for key, taken in json.loads(done.stdout.splitlines()[-1]).items() if not key.startswith("_")
    }
    schema = json.loads((ROOT / "src/runner/recipe/recipe.schema.json").read_text())["properties"]["resources"]
    assert set(schema["properties"]) == {*skypilots, OURS}
    ours = Draft7Validator(schema)
    differences = {
        (key, json.dumps(value), "only ours" if not theirs else "only SkyPilot's")
        for key, taken in skypilots.items()
        for value, theirs in zip(VALUES, taken, strict=True)
        if ours.is_valid({key: value}) != theirs
    }
    explained = {
        (key, value, which)
        for key, value, which in differences
        if (which == "only ours" and key in LAXER) or (which == "only SkyPilot's" and key in STRICTER)
    }
    assert differences - explained == set()
