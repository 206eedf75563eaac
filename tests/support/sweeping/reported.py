"""A sweep whose trials have learned what their values say, with the runs of its trials: something to report."""

import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.storage.store import Store
from runner.sweeps.definition import write_definition
from runner.sweeps.layout import trial_run_id
from runner.sweeps.state import SweepState
from support.compared import trained
from support.sweeping.definitions import make_definition
from support.sweeping.simulated import Simulation
from support.sweeping.spaces import make_space

SWEEP_ID = "reported"


def reported_sweep(store: Store, folder: Path, *, trials: int, steps: int, runs: int | None = None) -> SweepState:
    """Simulate successive halving over six parameters to its end, and leave the runs of its trials.

    Args:
        store: where.
        folder: for recipes' files.
        trials: how many.
        steps: of a trial that is trained to its end.
        runs: how many trials have a run in the store, the best first; all if it is None.
    """
    space = make_space(
        training__learning_rate={"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-2},
        adapter__r={"values": [8, 16, 32]},
        adapter__lora_dropout={"min": 0.0, "max": 0.2},
        training__weight_decay={"min": 0.0, "max": 0.1},
        training__lr_scheduler_type={"values": ["linear", "cosine", "constant"]},
        training__warmup_steps={"min": 0, "max": 50},
    )
    fields = {
        "sweep_id": SWEEP_ID,
        "space": space.to_mapping(),
        "scheduler": "successive_halving",
        "rungs": (max(1, steps // 9), max(2, steps // 3)),
        "max_steps": steps,
        "run_cap": trials,
        "recipe": {"document": {"name": "small", "method": "sft", "training": {"max_steps": steps}}},
    }
    definition = make_definition(**fields)
    assert write_definition(store, definition)
    simulation = Simulation(store, definition, workers=8, mean_life_seconds=20.0 * steps)
    simulation.value = lambda trial, step: loss(simulation.journal.state.trials[trial].values, trial, step)
    state = simulation.run()
    order = [trial.number for trial in state.best()]
    order += [number for number in state.trials if number not in order]
    for number in order[:runs]:
        trial = state.trials[number]
        losses: list[float | None] = [loss(trial.values, number, step) for step in range(1, trial.step + 1)]
        evaluations = {step: loss(trial.values, number, step) + 0.05 for step in range(0, trial.step + 1, 50)}
        sweep = {"sweep_id": SWEEP_ID, "trial": number}
        trained(store, folder, trial_run_id(SWEEP_ID, number), losses=losses, evaluations=evaluations, sweep=sweep)
    return state


def loss(values: Mapping[str, Any], trial: int, step: int) -> float:
    """A loss that falls, to less with a rate near 10 to the power of -3.3, and a little less without dropout."""
    away = math.log10(values["training.learning_rate"]) + 3.3
    floor = 1.0 + 0.4 * away**2 + values["adapter.lora_dropout"] + 0.1 * (values["adapter.r"] == 8)
    return floor + 3 * math.exp(-0.03 * step) + 0.05 * random.Random(f"{trial}/{step}").random()
