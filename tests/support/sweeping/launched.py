"""A sweep over the quickstart as a launch would write it, without any worker."""

from pathlib import Path
from typing import Any

import yaml

from runner.control.sweeping.define import SweepOptions
from runner.control.sweeping.launch import prepare_sweep
from runner.storage.store import Store
from runner.sweeps.definition import Definition, read_definition, write_definition
from runner.sweeps.events import Event
from runner.sweeps.journal import Journal

SWEEP: dict[str, Any] = {
    "program": "quickstart",
    "method": "random",
    "metric": {"name": "eval/loss", "goal": "minimize"},
    "run_cap": 9,
    "parameters": {
        "learning_rate": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2},
        "lora_r": {"values": [4, 8]},
    },
    "runner": {"rungs": [30, 60], "set": {"training.max_steps": 120}},
}


def write_file(folder: Path, name: str = "sweep.yaml", **changes: Any) -> str:
    """Write a sweep's file with changes at its top, None to leave something out; its name for a command."""
    content = {key: value for key, value in {**SWEEP, **changes}.items() if value is not None}
    (folder / name).write_text(yaml.safe_dump(content))
    return f"./{name}"


def launched(store: Store, folder: Path, sweep_id: str = "sweep", **changes: Any) -> Definition:
    """Launch a sweep without workers; its definition."""
    options = SweepOptions(file=write_file(folder, **changes), cwd=folder, name=sweep_id)
    definition = prepare_sweep(store, options, say=lambda sentence: None).definition
    assert write_definition(store, definition)
    return definition


def tell(store: Store, *events: Event, sweep_id: str = "sweep") -> None:
    """Write events into a sweep's journal."""
    Journal(store, read_definition(store, sweep_id), by="test").append(lambda state: list(events))


def trained(number: int, values: dict[str, Any], *, value: float | None, settings: dict[str, Any]) -> list[Event]:
    """The events of a trial that was trained to its end."""
    return [
        {"event": "drawn", "trial": number, "values": values, "settings": settings},
        {"event": "taken", "trial": number, "worker": "w", "until": None},
        {"event": "finished", "trial": number, "worker": "w", "step": 120, "value": value, "seconds": 1.0},
    ]
