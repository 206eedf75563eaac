"""ZeRO's state for a checkpoint, and whole weights out of ZeRO-3's parts.

DeepSpeed writes a checkpoint file by file through an engine of its own making, while training stands still. Here that
engine is exchanged for one that writes nothing and keeps what it is given: references to live tensors. They are copied
beside the next step, like the state of a model on one device.
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

from runner.runs.checkpoint_files import ADAPTER_WEIGHTS, MODEL_WEIGHTS
from runner.train.checkpointing.snapshot import placeholder

_PLAIN = (str, bytes, int, float, bool, type(None), torch.Size, torch.dtype, torch.device)


def capture_zero_shards(
    engine: Any, folder: Path, found: dict[str, torch.Tensor], *, trained_only: bool
) -> dict[str, Any]:
    """What this process has to write: file name to state tree, with placeholders for its tensors.

    Called by all processes together.

    Args:
        engine: DeepSpeed's, between two steps.
        folder: where the checkpoint's files will lie; DeepSpeed's pointer to the newest is written there at once.
        found: gets the tensors, still the live ones.
        trained_only: leave frozen weights out (an adapter's base).
    """
    from deepspeed.runtime.checkpoint_engine import TorchCheckpointEngine

    class Keeping(TorchCheckpointEngine):  # type: ignore[misc]  # DeepSpeed has no types
        def save(self, state_dict: Any, path: str) -> None:
            kept[str(Path(path).relative_to(folder))] = state_dict

    kept: dict[str, Any] = {}
    folder.mkdir(parents=True, exist_ok=True)
    own, engine.checkpoint_engine = engine.checkpoint_engine, Keeping()
    try:
        engine.save_checkpoint(str(folder), exclude_frozen_parameters=trained_only)
    finally:
        engine.checkpoint_engine = own
    return {name: _taken(tree, f"shards/{name}", found) for name, tree in kept.items()}


def _taken(tree: Any, prefix: str, found: dict[str, torch.Tensor]) -> Any:
    """As `take_tensors`, for trees that also hold objects, which go on changing and are copied."""
    if isinstance(tree, torch.Tensor):
        found[prefix] = tree.detach()
        return placeholder(prefix)
    if type(tree) in (dict, OrderedDict):
        return {key: _taken(value, f"{prefix}/{key}", found) for key, value in tree.items()}
    if type(tree) in (list, tuple):
        return type(tree)(_taken(value, f"{prefix}/{index}", found) for index, value in enumerate(tree))
    return tree if isinstance(tree, _PLAIN) else copy.deepcopy(tree)


def is_zero3(model: torch.nn.Module) -> bool:
    """Whether ZeRO-3 has cut up the weights."""
    return any(hasattr(parameter, "ds_id") for parameter in model.parameters())


def gather_zero3_weights(model: Any, *, is_first: bool) -> dict[str, torch.Tensor] | None:
    """The weights of a model that ZeRO-3 has cut up, in main memory, for the first process; None for the others.

    Called by all processes together; one parameter after the other is put together, so that a device never holds the
    whole. Of a model with an adapter only what is trained.
    """
    adapter_only = isinstance(model, peft.PeftModel)
    kept = {}
    for name, parameter in model.named_parameters():
        if adapter_only and not parameter.requires_grad:
            continue
        with _gathered(parameter):
            if is_first:
                kept[name] = parameter.detach().cpu().clone()
    if not is_first:
        return None
    if not adapter_only:
        buffers = dict(model.named_buffers())
        kept |= {name: buffers[name].detach().cpu().clone() for name in model.state_dict() if name in buffers}
    return kept


def load_whole_weights(model: Any, folder: Path, *, is_first: bool) -> None:
    """Put a checkpoint's whole weights into a model that ZeRO-3 has cut up. Called by all processes together."""
    names = dict(_names_in_file(model))
    tensors: Mapping[str, torch.Tensor] = {}
    if is_first:
        tensors = load_file(folder / (ADAPTER_WEIGHTS if isinstance(model, peft.PeftModel) else MODEL_WEIGHTS))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name not in names:
                continue
            with _gathered(parameter, modifier_rank=0):
                if is_first:
                    parameter.copy_(tensors[names[name]])


def _names_in_file(model: Any) -> Iterator[tuple[str, str]]:
    """Each parameter's name, and its name in a file of weights: peft leaves the adapter's own name out."""
    if not isinstance(model, peft.PeftModel):
        yield from ((name, name) for name, _ in model.named_parameters())
        return
    marks = {name: torch.empty(0) for name, parameter in model.named_parameters() if parameter.requires_grad}
    by_mark = {id(mark): name for name, mark in marks.items()}
    for name, mark in peft.get_peft_model_state_dict(model, state_dict=marks).items():
        yield by_mark[id(mark)], name


def _gathered(parameter: torch.nn.Parameter, *, modifier_rank: int | None = None) -> Any:
    if not hasattr(parameter, "ds_id"):
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters([parameter], modifier_rank=modifier_rank)
