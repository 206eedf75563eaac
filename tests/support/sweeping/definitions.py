"""Sweeps for tests: a definition with what the test does not care about filled in."""

from typing import Any

from runner.sweeps.definition import Definition


def make_definition(**changes: Any) -> Definition:
    """A sweep of random search over nothing, to be changed."""
    fields: dict[str, Any] = {
        "sweep_id": "sweep",
        "name": "sweep",
        "created_at": "2026-01-01T00:00:00+00:00",
        "runner_version": "0.1.0",
        "file": {},
        "method": "random",
        "seed": 1,
        "space": {},
        "metric": "eval_loss",
        "goal": "minimize",
        "run_cap": None,
        "scheduler": "none",
        "recipe": {},
        "recipe_name": "recipe.yaml",
        "recipe_digest": "0" * 64,
    }
    return Definition(**(fields | changes))
