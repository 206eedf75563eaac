"""Sweeps' files for tests, beside a small recipe."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.errors import UserError
from runner.sweeps.space.load import LoadedSweep, load_sweep

RECIPE: Mapping[str, Any] = {
    "name": "small",
    "method": "sft",
    "model": {"model_name_or_path": "builtin:tiny-llama"},
    "adapter": {"r": 8},
    "data": {"train": [{"path": "builtin:python-docstrings"}], "eval": {"from_train": 64}},
    "training": {
        "max_steps": 60,
        "learning_rate": 1.0e-3,
        "per_device_train_batch_size": 4,
        "eval_strategy": "steps",
        "eval_steps": 10,
    },
}
SWEEP: Mapping[str, Any] = {
    "program": "small.yaml",
    "method": "random",
    "metric": {"name": "eval/loss", "goal": "minimize"},
    "parameters": {"learning_rate": {"values": [0.001, 0.002]}},
}


ON_THE_QUICKSTARTS_MODEL = (
    "model={model_name_or_path: builtin:tiny-llama}",
    "adapter.target_modules=all-linear",
    "data={train: [{path: builtin:python-docstrings}], eval: {from_train: 64}}",
    "training.max_length=96",
    "training.optim=adamw_torch",
    "training.gradient_checkpointing=false",
    "export={}",
    "resources={}",
)
"""For `--set`: a shipped sweep of a larger model, on the quickstart's, which takes no network and no GPU."""


class SweepFiles:
    """Writes sweeps into a folder and loads them there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recipe()

    def recipe(self, **sections: Any) -> None:
        """Write the recipe; sections are merged into its own, or replace them. None leaves one out."""
        recipe = dict(RECIPE)
        for name, section in sections.items():
            recipe[name] = {**RECIPE.get(name, {}), **section} if isinstance(section, dict) else section
        kept = {name: section for name, section in recipe.items() if section is not None}
        (self.folder / "small.yaml").write_text(yaml.safe_dump(kept))

    def load(self, text: str | None = None, *, overrides: tuple[str, ...] = (), **keys: Any) -> LoadedSweep:
        """Load a sweep: `text`, or `SWEEP` with `keys` changed. None leaves a key out."""
        changed = {key: value for key, value in {**SWEEP, **keys}.items() if value is not None}
        written = yaml.safe_dump(changed, sort_keys=False) if text is None else text
        (self.folder / "sweep.yaml").write_text(written)
        return load_sweep("sweep.yaml", overrides=overrides, cwd=self.folder)

    def drawing(self, parameters: Mapping[str, Any], **keys: Any) -> LoadedSweep:
        """Load a sweep that draws these parameters."""
        return self.load(parameters=dict(parameters), **keys)

    def refusal(self, text: str | None = None, **keys: Any) -> str:
        """Load a sweep that is refused; returns the message."""
        with pytest.raises(UserError) as refused:
            self.load(text, **keys)
        return str(refused.value)
