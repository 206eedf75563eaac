"""The files that a checkpoint needs for an exact resume. No torch here: the agent checks them too.

The folder is a transformers checkpoint (`Trainer.train(resume_from_checkpoint=…)` reads it), with one file of ours.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

OPTIMIZER = "optimizer.pt"
SCHEDULER = "scheduler.pt"
SCALER = "scaler.pt"
TRAINER_STATE = "trainer_state.json"
RUNNER_STATE = "runner_state.json"
METHOD_STATE = "method_state.pt"
"""What a method's trainer keeps between steps and transformers does not save; not every method has any."""
MODEL_WEIGHTS = "model.safetensors"
ADAPTER_WEIGHTS = "adapter_model.safetensors"

ZERO_LATEST = "latest"
"""DeepSpeed's pointer to the folder beside it, which holds each process's part of the state."""


def rng_state_file(process_index: int, world_size: int) -> str:
    """The file that holds one process's random number generators, by transformers' naming."""
    return "rng_state.pth" if world_size <= 1 else f"rng_state_{process_index}.pth"


def method_state_file(process_index: int, world_size: int) -> str:
    """The file that holds what one process's method keeps between steps."""
    return METHOD_STATE if world_size <= 1 else f"method_state_{process_index}.pt"


def missing_files(names: Iterable[str], *, world_size: int = 1, zero_stage: int = 0) -> Sequence[str]:
    """The files that a checkpoint lacks to be resumed exactly.

    transformers itself resumes without complaint from a checkpoint without `optimizer.pt`, and ends with other weights.

    Args:
        names: of the files that it has.
        world_size: how many processes wrote it.
        zero_stage: DeepSpeed's stage, 0 without.
    """
    present = set(names)
    needed = [TRAINER_STATE, RUNNER_STATE, SCHEDULER]
    needed += [rng_state_file(index, world_size) for index in range(world_size)]
    if zero_stage:
        needed.append(ZERO_LATEST)
        missing = [name for name in needed if name not in present]
        for index in range(world_size):
            ending = f"zero_pp_rank_{index}_mp_rank_00_optim_states.pt"
            if not any(name.endswith(ending) for name in present):
                missing.append(ending)
        return missing
    missing = [name for name in [OPTIMIZER, *needed] if name not in present]
    if not present & {MODEL_WEIGHTS, ADAPTER_WEIGHTS}:
        missing.append(f"{MODEL_WEIGHTS} or {ADAPTER_WEIGHTS}")
    return missing


def read_runner_state(folder: Path) -> dict[str, Any]:
    """Our own file of a checkpoint: stage, step, whether training was complete, the best so far."""
    state: dict[str, Any] = json.loads((folder / RUNNER_STATE).read_text())
    return state
