"""How several processes train together: `training.strategy`, and DeepSpeed's configuration for it.

With `ddp` each process has the whole model. ZeRO (Rajbhandari et al., SC 2020) shards the optimizer's state and the
gradients (stage 2), and also the weights (stage 3), over the processes. `_offload` moves these shards to main memory.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

from runner.errors import UserError
from runner.files import read_whole
from runner.recipe.recipe import Json, Recipe

Strategy: TypeAlias = Literal["ddp", "zero2", "zero2_offload", "zero3", "zero3_offload"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


def choose_strategy(training: Mapping[str, Json], processes: int) -> Strategy | None:
    """Return the recipe's strategy, else `ddp` for several processes.

    None for a single process without a strategy, and if the recipe has its own DeepSpeed configuration.

    Args:
        training: the recipe's `training`.
        processes: number of processes on all machines.
    """
    if training.get("deepspeed"):
        return None
    strategy: Strategy | None = training.get("strategy")
    if strategy is None or (strategy == "ddp" and processes == 1):
        return "ddp" if processes > 1 else None
    return strategy


def deepspeed_config(strategy: Strategy | None, *, pin_memory: bool) -> dict[str, Any] | None:
    """Return DeepSpeed's configuration for `TrainingArguments.deepspeed`; None without ZeRO.

    "auto" values follow the trainer's arguments. There is no `train_batch_size`: DeepSpeed computes it, and ZeRO-3
    refuses it as "auto".

    Args:
        strategy: as `choose_strategy` returns it.
        pin_memory: offload to pinned memory, which exists only with a GPU.
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
        # torch's fused AdamW runs on a CPU; DeepSpeed's own would have to be compiled on each machine.
        config["zero_force_ds_cpu_optimizer"] = False
    return config


def zero_stage(training: Mapping[str, Json], strategy: Strategy | None) -> int:
    """Return the ZeRO stage, 0 without ZeRO."""
    if training.get("deepspeed"):
        stage = _own_zero(training).get("stage")
        return stage if isinstance(stage, int) else 0
    if strategy is None or strategy == "ddp":
        return 0
    return 3 if strategy.startswith("zero3") else 2


def asks_for_zero(recipe: Recipe) -> bool:
    """Whether a recipe, or a stage of one, uses ZeRO."""
    return zero_stage(recipe.training, recipe.training.get("strategy")) > 0


def is_sharded(training: Mapping[str, Json]) -> bool:
    """Whether each process holds a shard of the state and writes it to checkpoints itself."""
    return bool(training.get("deepspeed"))


def layout(training: Mapping[str, Json], world_size: int) -> dict[str, Any]:
    """Return what a checkpoint records about the processes that wrote it."""
    return {"world_size": world_size, "zero_stage": zero_stage(training, None)}


def offloads(training: Mapping[str, Json]) -> bool:
    """Whether optimizer state or weights are offloaded to main memory."""
    parts = [_own_zero(training).get(key) for key in ("offload_optimizer", "offload_param")]
    own = any(part.get("device", "none") != "none" for part in parts if isinstance(part, dict))
    return own or str(training.get("strategy")).endswith("_offload")


def _own_zero(training: Mapping[str, Json]) -> dict[str, Json]:
    """Return `zero_optimization` of the user's own DeepSpeed configuration; empty if there is none."""
    own = training.get("deepspeed")
    zero = own.get("zero_optimization") if isinstance(own, dict) else None
    return zero if isinstance(zero, dict) else {}


def without_automatic_batch(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a DeepSpeed configuration without ``"train_batch_size": "auto"``, which says what the recipe says.

    Most published files have it. DeepSpeed computes the number from the micro-batch, and ZeRO-3 refuses it as "auto".
    """
    return {key: value for key, value in config.items() if (key, value) != ("train_batch_size", "auto")}


def read_deepspeed_file(path: pathlib.Path) -> dict[str, Any]:
    """Read a DeepSpeed configuration, which replaces the file's name in the recipe.

    Raises:
        UserError: the file cannot be read, or is not a JSON object.
    """
    try:
        config = json.loads(read_whole(path, 16 << 20))
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"not JSON: {error}", where=str(path)) from error
    if not isinstance(config, dict):
        raise UserError("does not hold a JSON object", where=str(path))
    return config
