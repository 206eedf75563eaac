"""The training state that a checkpoint holds: which tensors and settings, and how they become files.

`capture` runs in the training thread and only collects references and small copies; `write` runs in the staging
thread, on the snapshot's copies of the tensors.
"""

import copy
import dataclasses
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import peft
import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel, Trainer
from transformers.trainer_callback import ExportableState

from runner.runs.checkpoint_files import (
    ADAPTER_WEIGHTS,
    MODEL_WEIGHTS,
    OPTIMIZER,
    RUNNER_STATE,
    SCALER,
    SCHEDULER,
    TRAINER_STATE,
    method_state_file,
    rng_state_file,
)
from runner.train.checkpointing.snapshot import put_tensors, take_tensors
from runner.train.checkpointing.zero import capture_zero_shards, gather_zero3_weights, is_zero3


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """One moment of training, between two steps."""

    tensors: Mapping[str, torch.Tensor]
    """Weights (``weights/<name>``) and optimizer state (``optimizer/…``), still the live ones."""
    optimizer: Any
    """The optimizer's state tree with placeholders for its tensors; None: it is in `capture_zero_shards`."""
    small: Mapping[str, Any]
    """File name to what `torch.save` writes there: scheduler, gradient scaler, random number generators."""
    texts: Mapping[str, str]
    """File name to text: the trainer's state and ours."""
    weights_file: str | None
    """`MODEL_WEIGHTS` or `ADAPTER_WEIGHTS`; None: the weights are in `capture_zero_shards`."""
    shards: Mapping[str, Any] = field(default_factory=dict)
    """DeepSpeed's files by name: state trees with placeholders for their tensors."""

    def write(self, tensors: Mapping[str, torch.Tensor], folder: Path) -> dict[str, Path]:
        """Write the checkpoint's files from the copied `tensors`; returns name to path.

        Raises:
            OSError: the disk is full, for example.
        """
        folder.mkdir(parents=True, exist_ok=True)
        weights = {
            name.removeprefix("weights/"): tensor for name, tensor in tensors.items() if name.startswith("weights/")
        }
        if self.weights_file is not None:
            save_file(weights, folder / self.weights_file, metadata={"format": "pt"})
        if self.optimizer is not None:
            _save(put_tensors(self.optimizer, tensors), folder / OPTIMIZER)
        for name, tree in self.shards.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            _save(put_tensors(tree, tensors), folder / name)
        for name, value in self.small.items():
            _save(value, folder / name)
        for name, text in self.texts.items():
            (folder / name).write_text(text)
        return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


def _save(value: Any, path: Path) -> None:
    """`torch.save`, with the disk's own word if it fails: torch's writer says "iostream error" whatever it was.

    Raises:
        OSError: the disk is full, for example.
    """
    try:
        with path.open("wb") as file:
            torch.save(value, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise OSError(error.__context__.errno, error.__context__.strerror, str(path)) from error
        raise


def own_state(trainer: Trainer, method_state: Mapping[str, Any]) -> dict[str, Any]:
    """What every process has of its own between two steps: its random streams, and what its method keeps.

    Args:
        trainer: any transformers `Trainer`.
        method_state: what the method keeps, copied; tensors, numbers, texts, lists and mappings of them.
    """
    rank, world_size = trainer.args.process_index, trainer.args.world_size
    states: dict[str, Any] = {rng_state_file(rank, world_size): _random_states()}
    if method_state:
        states[method_state_file(rank, world_size)] = dict(method_state)
    return states


def capture(trainer: Trainer, *, extra: Mapping[str, Any], own_states: Sequence[Mapping[str, Any]]) -> TrainingState:
    """Collect the state of `trainer` between two steps, without copying any weight.

    Args:
        trainer: any transformers `Trainer` that has the whole model, its optimizer made.
        extra: what our own state file holds.
        own_states: what `own_state` gave in each process.
    """
    scheduler = trainer.lr_scheduler
    assert scheduler is not None
    assert trainer.optimizer is not None
    tensors: dict[str, torch.Tensor] = {}
    texts = {TRAINER_STATE: _trainer_state(trainer), RUNNER_STATE: json.dumps(dict(extra), indent=2)}
    weights_file = take_weights(trainer.model, tensors, texts)
    optimizer = take_tensors(trainer.optimizer.state_dict(), "optimizer", tensors)
    small: dict[str, Any] = {SCHEDULER: copy.deepcopy(scheduler.state_dict())}
    for states in own_states:
        small.update(states)
    if getattr(trainer.accelerator, "scaler", None) is not None:
        small[SCALER] = copy.deepcopy(trainer.accelerator.scaler.state_dict())
    return TrainingState(
        tensors=tensors,
        optimizer=optimizer,
        small=small,
        texts=texts,
        weights_file=weights_file,
    )


def capture_shard(
    trainer: Trainer,
    folder: Path,
    *,
    extra: Mapping[str, Any],
    own_states: Sequence[Mapping[str, Any]],
    whole: bool,
) -> TrainingState:
    """Collect this process's part of a state that DeepSpeed has spread. Called by all processes together.

    Args:
        trainer: between two steps.
        folder: where this process's files will lie.
        extra: what our own state file holds.
        own_states: what `own_state` gave in each process, for the first; it writes them, and what is everybody's.
        whole: the weights too, put together, so that they can be had without as many processes.
    """
    is_first = trainer.args.process_index == 0
    tensors: dict[str, torch.Tensor] = {}
    files = capture_zero_shards(
        trainer.deepspeed, folder, tensors, trained_only=isinstance(trainer.model, peft.PeftModel)
    )
    texts: dict[str, str] = {}
    small: dict[str, Any] = {}
    weights_file = None
    weights = None
    if whole and is_zero3(cast(torch.nn.Module, trainer.model)):
        weights = gather_zero3_weights(trainer.model, is_first=is_first)
    if is_first:
        assert trainer.lr_scheduler is not None
        texts = {TRAINER_STATE: _trainer_state(trainer), RUNNER_STATE: json.dumps(dict(extra), indent=2)}
        small[SCHEDULER] = copy.deepcopy(trainer.lr_scheduler.state_dict())
        for states in own_states:
            small.update(states)
        if whole:
            weights_file = take_weights(trainer.model, tensors, texts, weights)
    return TrainingState(
        tensors=tensors, optimizer=None, small=small, texts=texts, weights_file=weights_file, shards=files
    )


def take_weights(
    model: Any,
    tensors: dict[str, torch.Tensor],
    texts: dict[str, str],
    whole: dict[str, torch.Tensor] | None = None,
) -> str:
    """Put a model's or adapter's weights into `tensors` and its configuration into `texts`; returns the file's name.

    Args:
        model: whose.
        tensors: gets them, as ``weights/<name>``.
        texts: gets the configuration's file.
        whole: the weights, where the model holds them in parts.
    """
    if isinstance(model, peft.PeftModel):
        weights_file, weights = ADAPTER_WEIGHTS, peft.get_peft_model_state_dict(model, state_dict=whole)
        texts["adapter_config.json"] = json.dumps(_adapter_config(model), indent=2)
    else:
        weights_file, weights = MODEL_WEIGHTS, untied(model.state_dict() if whole is None else whole)
        texts["config.json"] = cast(PreTrainedModel, model).config.to_json_string()
    for name, tensor in weights.items():
        tensors[f"weights/{name}"] = tensor.detach()
    return weights_file


def untied(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Each weight once, by its first name: safetensors refuses two for one storage, and loading ties them again."""
    seen: set[tuple[int, int, torch.Size]] = set()
    kept = {}
    for name, tensor in weights.items():
        place = (tensor.data_ptr(), tensor.numel(), tensor.shape)
        if tensor.numel() and place in seen:
            continue
        seen.add(place)
        kept[name] = tensor
    return kept


def _random_states() -> dict[str, Any]:
    states: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "cpu": torch.random.get_rng_state(),
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.random.get_rng_state()
    return states


def _trainer_state(trainer: Trainer) -> str:
    """`trainer_state.json`, with the state of callbacks as it is now.

    Left out: `TrainerControl` (restored, it would end the resumed run at its first step when the checkpoint was made
    because of a preemption) and the training records of `log_history` (they stand in the run's metrics, and writing
    them all again at each save would grow with the length of the run).
    """
    kept = {
        "log_history": [record for record in trainer.state.log_history if "loss" not in record],
        "stateful_callbacks": {
            type(callback).__name__: callback.state()
            for callback in trainer.callback_handler.callbacks
            if isinstance(callback, ExportableState)
        },
    }
    fields = {field.name: getattr(trainer.state, field.name) for field in dataclasses.fields(trainer.state)}
    return json.dumps({**fields, **kept}, indent=2, sort_keys=True) + "\n"


def _adapter_config(model: peft.PeftModel) -> dict[str, Any]:
    config = model.peft_config[model.active_adapter].to_dict()
    return {
        key: sorted(value) if isinstance(value, (set, frozenset)) else getattr(value, "value", value)
        for key, value in config.items()
    }
