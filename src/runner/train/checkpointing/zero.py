"""DeepSpeed: ZeRO's state for a checkpoint, and whole weights gathered from ZeRO-3's parts.

DeepSpeed writes a checkpoint file by file through its checkpoint engine, and training waits meanwhile. Here that engine
is replaced by one that writes nothing and keeps what it is given: references to live tensors. They are copied during
the next step, like the state of a model on one device.
"""

import copy
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import peft
import torch
from safetensors.torch import load_file

from runner.runs.checkpoints.files import ADAPTER_WEIGHTS, MODEL_WEIGHTS
from runner.train.checkpointing.snapshot import placeholder

_IMMUTABLE = (str, bytes, int, float, bool, type(None), torch.Size, torch.dtype, torch.device)


def capture_zero_shards(
    engine: Any, folder: Path, tensors: dict[str, torch.Tensor], *, trained_only: bool
) -> dict[str, Any]:
    """Collect what this process has to write: file name to state tree, with placeholders for its tensors.

    Called by all processes together.

    Args:
        engine: DeepSpeed's, between two steps.
        folder: the checkpoint's folder; DeepSpeed writes its pointer to the newest checkpoint there at once.
        tensors: gets the tensors, still the live ones.
        trained_only: leave frozen weights out (an adapter's base).
    """
    from deepspeed.runtime.checkpoint_engine import TorchCheckpointEngine

    class CapturingEngine(TorchCheckpointEngine):  # type: ignore[misc]  # DeepSpeed has no types
        def save(self, state_dict: Any, path: str) -> None:
            trees[str(Path(path).relative_to(folder))] = state_dict

    trees: dict[str, Any] = {}
    folder.mkdir(parents=True, exist_ok=True)
    original, engine.checkpoint_engine = engine.checkpoint_engine, CapturingEngine()
    try:
        engine.save_checkpoint(str(folder), exclude_frozen_parameters=trained_only)
    finally:
        engine.checkpoint_engine = original
    return {name: _take_tensors(tree, f"shards/{name}", tensors) for name, tree in trees.items()}


def _take_tensors(tree: Any, prefix: str, tensors: dict[str, torch.Tensor]) -> Any:
    """Like `snapshot.take_tensors`, for trees that also hold other objects; these keep changing, so they are copied."""
    if isinstance(tree, torch.Tensor):
        tensors[prefix] = tree.detach()
        return placeholder(prefix)
    if type(tree) in (dict, OrderedDict):
        return {key: _take_tensors(value, f"{prefix}/{key}", tensors) for key, value in tree.items()}
    if type(tree) in (list, tuple):
        return type(tree)(_take_tensors(value, f"{prefix}/{index}", tensors) for index, value in enumerate(tree))
    return tree if isinstance(tree, _IMMUTABLE) else copy.deepcopy(tree)


def is_zero3(model: torch.nn.Module) -> bool:
    """Whether ZeRO-3 has partitioned the weights."""
    return any(hasattr(parameter, "ds_id") for parameter in model.parameters())


def gather_zero3_weights(model: Any, *, is_main_process: bool) -> dict[str, torch.Tensor] | None:
    """Gather the weights that ZeRO-3 has partitioned into the main process's memory; None in the other processes.

    Called by all processes together. Parameters are gathered one after the other, so that a device never holds them
    all. Of a model with an adapter, only the trained weights are gathered.
    """
    adapter_only = isinstance(model, peft.PeftModel)
    weights = {}
    for name, parameter in model.named_parameters():
        if adapter_only and not parameter.requires_grad:
            continue
        with _gather(parameter):
            if is_main_process:
                weights[name] = parameter.detach().cpu().clone()
    if not is_main_process:
        return None
    if not adapter_only:
        buffers = dict(model.named_buffers())
        weights |= {name: buffers[name].detach().cpu().clone() for name in model.state_dict() if name in buffers}
    return weights


def load_zero3_weights(model: Any, folder: Path, *, is_main_process: bool) -> None:
    """Load a checkpoint's whole weights into a model that ZeRO-3 has partitioned. Called by all processes together."""
    names = dict(_names_in_file(model))
    tensors: Mapping[str, torch.Tensor] = {}
    if is_main_process:
        tensors = load_file(folder / (ADAPTER_WEIGHTS if isinstance(model, peft.PeftModel) else MODEL_WEIGHTS))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name not in names:
                continue
            with _gather(parameter, modifier_rank=0):
                if is_main_process:
                    parameter.copy_(tensors[names[name]])


def _names_in_file(model: Any) -> Iterator[tuple[str, str]]:
    """Yield each parameter's name and its name in a weights file, where peft leaves the adapter's name out."""
    if not isinstance(model, peft.PeftModel):
        yield from ((name, name) for name, _ in model.named_parameters())
        return
    marks = {name: torch.empty(0) for name, parameter in model.named_parameters() if parameter.requires_grad}
    by_mark = {id(mark): name for name, mark in marks.items()}
    for name, mark in peft.get_peft_model_state_dict(model, state_dict=marks).items():
        yield by_mark[id(mark)], name


def _gather(parameter: torch.nn.Parameter, *, modifier_rank: int | None = None) -> Any:
    if not hasattr(parameter, "ds_id"):
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters([parameter], modifier_rank=modifier_rank)
