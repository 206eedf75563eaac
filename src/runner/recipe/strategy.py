"""How several training processes share one run: `training.strategy`, and DeepSpeed's configuration for it.

`ddp` gives each process the whole model; ZeRO (Rajbhandari et al., SC 2020) spreads the optimizer's state and the
gradients (stage 2), and the weights too (stage 3), over the processes; `_offload` moves what is spread to main memory.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

from runner.errors import UserError
from runner.recipe.recipe import Json, Recipe

Strategy: TypeAlias = Literal["ddp", "zero2", "zero2_offload", "zero3", "zero3_offload"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


def chosen_strategy(training: Mapping[str, Json], processes: int) -> Strategy | None:
    """What the recipe says, else `ddp` for more than one process; None: one process by itself, or DeepSpeed's own file.

    Args:
        training: the recipe's `training`.
        processes: how many take part, over all machines.
    """
    if training.get("deepspeed"):
        return None
    strategy: Strategy | None = training.get("strategy")
    if strategy is None or (strategy == "ddp" and processes == 1):
        return "ddp" if processes > 1 else None
    return strategy


def deepspeed_config(strategy: Strategy | None, *, pin_memory: bool) -> dict[str, Any] | None:
    """DeepSpeed's configuration, as transformers' `TrainingArguments.deepspeed` takes it; None where it plays no part.

    What is "auto" follows the trainer's arguments. ``train_batch_size`` is left out: DeepSpeed multiplies it itself,
    and ZeRO-3 refuses it as "auto".

    Args:
        strategy: which.
        pin_memory: whether what is offloaded lies in pinned memory, which there is beside a GPU only.
    """
    if strategy is None or strategy == "ddp":
        return None
    stage = 3 if strategy.startswith("zero3") else 2
    zero: dict[str, Any] = {"stage": stage, "contiguous_gradients": True, "overlap_comm": True}
    if stage == 3:
        zero |= {
            "reduce_bucket_size": "auto",
            "stage3_prefetch_bucket_size": "auto",
            "stage3_param_persistence_threshold": "auto",
        }
    config: dict[str, Any] = {
        "zero_optimization": zero,
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": "auto"},
        "fp16": {"enabled": "auto"},
    }
    if strategy.endswith("_offload"):
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": pin_memory}
        if stage == 3:
            zero["offload_param"] = {"device": "cpu", "pin_memory": pin_memory}
        # torch's own fused AdamW does on a CPU what DeepSpeed's would have to be compiled for, on each machine.
        config["zero_force_ds_cpu_optimizer"] = False
    return config


def zero_stage(training: Mapping[str, Json], strategy: Strategy | None) -> int:
    """The stage of ZeRO, 0 without."""
    if training.get("deepspeed"):
        stage = _own_zero(training).get("stage")
        return stage if isinstance(stage, int) else 0
    if strategy is None or strategy == "ddp":
        return 0
    return 3 if strategy.startswith("zero3") else 2


def asks_for_zero(recipe: Recipe) -> bool:
    """Whether a recipe, or a stage of one, names DeepSpeed."""
    return zero_stage(recipe.training, recipe.training.get("strategy")) > 0


def is_sharded(training: Mapping[str, Json]) -> bool:
    """Whether each process keeps a part of the state, and writes it into checkpoints itself."""
    return bool(training.get("deepspeed"))


def layout(training: Mapping[str, Json], world_size: int) -> dict[str, Any]:
    """What a checkpoint says about the processes that wrote it."""
    return {"world_size": world_size, "zero_stage": zero_stage(training, None)}


def offloads(training: Mapping[str, Json]) -> bool:
    """Whether anything is moved to main memory."""
    parts = [_own_zero(training).get(key) for key in ("offload_optimizer", "offload_param")]
    own = any(part.get("device", "none") != "none" for part in parts if isinstance(part, dict))
    return own or str(training.get("strategy")).endswith("_offload")


def _own_zero(training: Mapping[str, Json]) -> dict[str, Json]:
    """What the user's own configuration says of ZeRO; empty if it is none that says anything."""
    own = training.get("deepspeed")
    zero = own.get("zero_optimization") if isinstance(own, dict) else None
    return zero if isinstance(zero, dict) else {}


def read_deepspeed_file(path: pathlib.Path) -> dict[str, Any]:
    """DeepSpeed's configuration from its JSON file, to stand in the recipe in its place.

    Raises:
        UserError: there is no such file, or no JSON object in it.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except ValueError as error:
        raise UserError(f"no JSON: {error}", where=str(path)) from error
    if not isinstance(config, dict):
        raise UserError("holds no JSON object", where=str(path))
    return config
