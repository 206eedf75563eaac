"""Write `sky/`: the SkyPilot tasks of the shipped recipes, on a few machines each, as `runner render` prints them, and
those of a sweep's workers.

    python tools/render_tasks.py            write the files, and remove obsolete ones
    python tools/render_tasks.py --check    exit 1 if one is not current

A run's id, time and revision are fixed here, so that only a change of a recipe or of the rendering changes a file.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.backends.base import ResourceOptions
from runner.backends.skypilot.request import plan, remote_task, remote_workers_task
from runner.backends.skypilot.task import task_yaml
from runner.backends.workers import SweepWorkers
from runner.errors import UserError
from runner.recipe.loading.finder import bundled_recipes_folder
from runner.recipe.loading.load import load_recipe
from runner.runs.submission.prepare import prepare
from runner.runs.submission.run_json import run_json
from runner.sweeps.workers.launches import workers_name

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "sky"
IMAGE = "registry.example.com/team/runner:cuda"
STORE = "s3://my-bucket/runner"
MACHINES = {
    "t4": ResourceOptions(gpus=("T4",)),
    "a100": ResourceOptions(gpus=("A100",)),
    "a100-8": ResourceOptions(gpus=("A100:8",)),
    "2-nodes": ResourceOptions(gpus=("A100:8",), nodes=2),
}
"""The ending of each file, and the requested resources."""
WORKERS: dict[str, tuple[ResourceOptions, dict[str, Any]]] = {
    "spot": (
        ResourceOptions(gpus=("L4", "A100"), infra=("aws", "gcp"), use_spot=True, max_hourly_cost=1.5),
        {"count": 8, "idle_minutes": 5.0},
    ),
    "slots": (ResourceOptions(gpus=("A100:8",)), {"gpus_per_trial": 2}),
    "shared": (ResourceOptions(gpus=("T4",)), {"trials_per_gpu": 2}),
}
"""The ending of each file of a sweep's workers, the requested machines, and what is asked of the workers."""


def render(recipe: str, resource_options: ResourceOptions) -> str:
    """Return one task, below a comment with the command that prints it."""
    loaded = load_recipe(recipe, cwd=ROOT)
    planned = plan(loaded.recipe, resource_options, IMAGE)
    prepared = prepare(loaded)
    document = run_json(
        run_id=f"{recipe}-example",
        recipe=prepared.recipe,
        settings=prepared.settings,
        recipe_digest=prepared.digest,
        git_revision=None,
        created_at="2026-11-21T00:00:00+00:00",
        infra=planned.infra,
        image=planned.image,
        machines=planned.machines,
    )
    environ = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    content, _ = remote_task(document, STORE, environ=environ)
    nodes = f" --nodes {resource_options.nodes}" if resource_options.nodes else ""
    command = f"runner render {recipe} --gpu {resource_options.gpus[0]}{nodes} --image {IMAGE} --store {STORE}"
    return f"# {command}\n{task_yaml(content)}"


def render_workers(recipe: str, options: ResourceOptions, asked: Mapping[str, Any]) -> str:
    """Return the task of a sweep's workers, below a comment on it."""
    loaded = load_recipe(recipe, cwd=ROOT)
    workers = SweepWorkers(
        sweep_id="sweep-example",
        placement=plan(loaded.recipe, options, IMAGE),
        sky=prepare(loaded).recipe["sky"],
        **asked,
    )
    environ = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    content, _ = remote_workers_task(workers, STORE, name=workers_name(workers.sweep_id, 1), environ=environ)
    return f"# {asked.get('count', 1)} of these: the workers of a sweep over {recipe}\n{task_yaml(content)}"


def files() -> dict[str, str]:
    """Return every file's name and text; none for machines that a recipe does not fit."""
    texts = {}
    for recipe in sorted(path.stem for path in bundled_recipes_folder().glob("*.yaml")):
        for name, resource_options in MACHINES.items():
            try:
                texts[f"{recipe}.{name}.yaml"] = render(recipe, resource_options)
            except UserError as error:
                if "fits on none" not in error.what:
                    raise
    for name, (options, asked) in WORKERS.items():
        texts[f"sweep-workers.{name}.yaml"] = render_workers("smollm2-135m-lora", options, asked)
    return texts


def main() -> int:
    """Write the files, or compare them with the folder."""
    parser = argparse.ArgumentParser(description="Write the tasks in sky/.")
    parser.add_argument("--check", action="store_true", help="exit 1 if a file is not current")
    arguments = parser.parse_args()
    os.environ.pop("RUNNER_IMAGE", None)
    wanted = files()
    existing = {path.name: path.read_text() for path in TARGET.glob("*.yaml")} if TARGET.is_dir() else {}
    if arguments.check:
        stale = sorted(name for name in wanted.keys() | existing.keys() if wanted.get(name) != existing.get(name))
        if stale:
            print(f"not current: {', '.join(stale)}: run python tools/render_tasks.py", file=sys.stderr)
        return 1 if stale else 0
    TARGET.mkdir(exist_ok=True)
    for name in existing.keys() - wanted.keys():
        (TARGET / name).unlink()
    for name, text in wanted.items():
        (TARGET / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
