"""The training state that a checkpoint holds: its tensors and settings, and how they become files.

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

from runner.runs.checkpoints.files import (
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
    """Weights (``weights/<name>``) and optimizer state (``optimizer/…``): the live tensors, not copies."""
    optimizer: Any
    """The optimizer's state tree with placeholders for its tensors; None if it is in `shards`."""
    small: Mapping[str, Any]
    """File name to what `torch.save` writes there: scheduler, gradient scaler, random number generators."""
    texts: Mapping[str, str]
    """File name to text: the trainer's state, ours and the configuration."""
    weights_file: str | None
    """`MODEL_WEIGHTS` or `ADAPTER_WEIGHTS`; None if the weights are in `shards` alone."""
    shards: Mapping[str, Any] = field(default_factory=dict)
    """DeepSpeed's files by name: state trees with placeholders for their tensors."""

    def write(self, tensors: Mapping[str, torch.Tensor], folder: Path) -> dict[str, Path]:
        """Write the checkpoint's files from the copied `tensors`; return name to path.

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
    """`torch.save` that raises the disk's own error: torch's writer says "iostream error" for each.

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


def rank_state(trainer: Trainer, method_state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what differs between processes, by file name: the random streams, and what the method keeps.

    Args:
        trainer: any transformers `Trainer`, between two steps.
        method_state: what the method keeps, copied: tensors, numbers, texts, and lists and mappings of them.
    """
    rank, world_size = trainer.args.process_index, trainer.args.world_size
    states: dict[str, Any] = {rng_state_file(rank, world_size): _random_states()}
    if method_state:
        states[method_state_file(rank, world_size)] = dict(method_state)
    return states


def capture(
    trainer: Trainer, *, runner_state: Mapping[str, Any], rank_states: Sequence[Mapping[str, Any]]
) -> TrainingState:
    """Collect the state of `trainer` between two steps, without copying any weight.

    Args:
        trainer: any transformers `Trainer` that holds the whole model and has made its optimizer.
        runner_state: the content of our own state file, `RUNNER_STATE`.
        rank_states: what `rank_state` returned in each process.
    """
    scheduler = trainer.lr_scheduler
    assert scheduler is not None
    assert trainer.optimizer is not None
    tensors: dict[str, torch.Tensor] = {}
    texts = {TRAINER_STATE: _trainer_state(trainer), RUNNER_STATE: json.dumps(dict(runner_state), indent=2)}
    weights_file = take_weights(trainer.model, tensors, texts)
    optimizer = take_tensors(trainer.optimizer.state_dict(), "optimizer", tensors)
    small: dict[str, Any] = {SCHEDULER: copy.deepcopy(scheduler.state_dict())}
    for states in rank_states:
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
    runner_state: Mapping[str, Any],
    rank_states: Sequence[Mapping[str, Any]],
    with_weights: bool,
) -> TrainingState:
    """Collect this process's part of a state that DeepSpeed has partitioned. Called by all processes together.

    Args:
        trainer: between two steps.
        folder: where this process writes its files.
        runner_state: the content of our own state file, `RUNNER_STATE`.
        rank_states: what `rank_state` returned in each process; only the main process needs them, and writes them.
        with_weights: write the gathered weights too, so that they can be loaded with any number of processes.
    """
    is_main_process = trainer.args.process_index == 0
    tensors: dict[str, torch.Tensor] = {}
    shards = capture_zero_shards(
        trainer.deepspeed, folder, tensors, trained_only=isinstance(trainer.model, peft.PeftModel)
    )
    texts: dict[str, str] = {}
    small: dict[str, Any] = {}
    weights_file = None
    weights = None
    if with_weights and is_zero3(cast(torch.nn.Module, trainer.model)):
        weights = gather_zero3_weights(trainer.model, is_main_process=is_main_process)
    if is_main_process:
        assert trainer.lr_scheduler is not None
        texts = {TRAINER_STATE: _trainer_state(trainer), RUNNER_STATE: json.dumps(dict(runner_state), indent=2)}
        small[SCHEDULER] = copy.deepcopy(trainer.lr_scheduler.state_dict())
        for states in rank_states:
            small.update(states)
        if with_weights:
            weights_file = take_weights(trainer.model, tensors, texts, weights)
    return TrainingState(
        tensors=tensors, optimizer=None, small=small, texts=texts, weights_file=weights_file, shards=shards
    )


def take_weights(
    model: Any,
    tensors: dict[str, torch.Tensor],
    texts: dict[str, str],
    gathered: dict[str, torch.Tensor] | None = None,
) -> str:
    """Put a model's or adapter's weights into `tensors`; return the name of the weights file.

    Args:
        model: the model, with its adapter if it has one.
        tensors: gets the weights, as ``weights/<name>``.
        texts: gets the configuration file.
        gathered: the weights, if ZeRO-3 has partitioned those of the model.
    """
    if isinstance(model, peft.PeftModel):
        weights_file, weights = ADAPTER_WEIGHTS, peft.get_peft_model_state_dict(model, state_dict=gathered)
        texts["adapter_config.json"] = json.dumps(_adapter_config(model), indent=2)
    else:
        weights_file, weights = MODEL_WEIGHTS, without_ties(model.state_dict() if gathered is None else gathered)
        texts["config.json"] = cast(PreTrainedModel, model).config.to_json_string()
    for name, tensor in weights.items():
        tensors[f"weights/{name}"] = tensor.detach()
    return weights_file


def without_ties(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return each weight once, by its first name: safetensors refuses two for one storage; loading ties them again."""
    seen: set[tuple[int, int, torch.Size]] = set()
    unique = {}
    for name, tensor in weights.items():
        storage = (tensor.data_ptr(), tensor.numel(), tensor.shape)
        if tensor.numel() and storage in seen:
            continue
        seen.add(storage)
        unique[name] = tensor
    return unique


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
    """Return the text of `trainer_state.json`, with the present state of the callbacks.

    Left out: `TrainerControl` (of a checkpoint taken at a preemption, it would end the resumed run at its first step)
    and the training records of `log_history` (the run's metrics have them, and writing all of them at each save would
    take longer and longer).
    """
    replaced = {
        "log_history": [record for record in trainer.state.log_history if "loss" not in record],
        "stateful_callbacks": {
            type(callback).__name__: callback.state()
            for callback in trainer.callback_handler.callbacks
            if isinstance(callback, ExportableState)
        },
    }
    fields = {field.name: getattr(trainer.state, field.name) for field in dataclasses.fields(trainer.state)}
    return json.dumps({**fields, **replaced}, indent=2, sort_keys=True) + "\n"


def _adapter_config(model: peft.PeftModel) -> dict[str, Any]:
    config = model.peft_config[model.active_adapter].to_dict()
    return {
        key: sorted(value) if isinstance(value, (set, frozenset)) else getattr(value, "value", value)
        for key, value in config.items()
    }
