"""What a stage's result says in numbers of its data, its model and its GPU."""

from collections.abc import Mapping
from typing import Any, cast

import torch

from runner.train.checkpointing.trainer import ResumableTrainerMixin
from runner.train.data.mixture import TrainingData
from runner.train.stages.context import StageFigures

_GIB = 1 << 30


def stage_figures(trainer: ResumableTrainerMixin, data: TrainingData) -> StageFigures:
    """Return the figures of a stage that has been trained.

    Args:
        trainer: the stage's.
        data: what it was trained on.
    """
    trainable, total = count_parameters(trainer.model)
    dropped = sum(record["rows"] for record in data.dropped if record["entry"].startswith("data.train."))
    # SFT counts for itself; `num_input_tokens_seen` is what transformers counts.
    tokens = int(getattr(trainer, "_total_train_tokens", 0) or trainer.state.num_input_tokens_seen or 0)
    on_gpu = trainer.args.device.type == "cuda"
    return {
        "tokens": tokens or None,
        "rows_used": len(data.train),
        "rows_dropped": dropped,
        "trainable_parameters": trainable,
        "total_parameters": total,
        "peak_memory_gib": round(torch.cuda.max_memory_allocated(trainer.args.device) / _GIB, 3) if on_gpu else None,
    }


def count_parameters(model: Any) -> tuple[int, int]:
    """Return how many weights a model trains, and how many it has, whatever ZeRO or quantization make of them."""
    trainable = total = 0
    for parameter in model.parameters():
        count = int(getattr(parameter, "ds_numel", 0) or parameter.numel())
        if type(parameter).__name__ == "Params4bit":
            storage = getattr(parameter, "quant_storage", None)
            count *= 2 * (1 if storage is None else storage.itemsize)
        total += count
        trainable += count if parameter.requires_grad else 0
    return trainable, total


def stage_part(result: Mapping[str, Any]) -> StageFigures:
    """Return the figures that a stage's result holds."""
    return cast(StageFigures, {name: result[name] for name in StageFigures.__annotations__ if name in result})
