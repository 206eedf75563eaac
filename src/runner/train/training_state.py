"""The training state that a checkpoint holds: which tensors and settings, and how they become files.

`capture` runs in the training thread and only collects references and small copies; `write` runs in the staging
thread, on the snapshot's copies of the tensors.
"""

import copy
import dataclasses
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import peft
import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel, Trainer
from transformers.trainer_callback import ExportableState

from runner.train.checkpoint_files import (
    ADAPTER_WEIGHTS,
    METHOD_STATE,
    MODEL_WEIGHTS,
    OPTIMIZER,
    RUNNER_STATE,
    SCALER,
    SCHEDULER,
    TRAINER_STATE,
    rng_state_file,
)
from runner.train.snapshot import put_tensors, take_tensors


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """One moment of training, between two steps."""

    tensors: Mapping[str, torch.Tensor]
    """Weights (``weights/<name>``) and optimizer state (``optimizer/…``), still the live ones."""
    optimizer: Any
    """The optimizer's state tree with placeholders for its tensors."""
    small: Mapping[str, Any]
    """File name to what `torch.save` writes there: scheduler, gradient scaler, random number generators."""
    texts: Mapping[str, str]
    """File name to text: the trainer's state and ours."""
    weights_file: str
    """`MODEL_WEIGHTS` or `ADAPTER_WEIGHTS`."""

    def write(self, tensors: Mapping[str, torch.Tensor], folder: Path) -> dict[str, Path]:
        """Write the checkpoint's files from the copied `tensors`; returns name to path.

        Raises:
            OSError: the disk is full, for example.
        """
        folder.mkdir(parents=True, exist_ok=True)
        weights = {
            name.removeprefix("weights/"): tensor for name, tensor in tensors.items() if name.startswith("weights/")
        }
        save_file(weights, folder / self.weights_file, metadata={"format": "pt"})
        _save(put_tensors(self.optimizer, tensors), folder / OPTIMIZER)
        for name, value in self.small.items():
            _save(value, folder / name)
        for name, text in self.texts.items():
            (folder / name).write_text(text)
        return {path.name: path for path in sorted(folder.iterdir())}


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


def capture(trainer: Trainer, *, extra: Mapping[str, Any], method_state: Mapping[str, Any]) -> TrainingState:
    """Collect the state of `trainer` between two steps, without copying any weight.

    Args:
        trainer: any transformers `Trainer` on one device, its optimizer made.
        extra: what our own state file holds.
        method_state: what the method keeps besides, copied; tensors, numbers, texts, lists and mappings of them.
    """
    model, scheduler = trainer.model, trainer.lr_scheduler
    assert model is not None
    assert scheduler is not None
    assert trainer.optimizer is not None
    tensors: dict[str, torch.Tensor] = {}
    texts = {TRAINER_STATE: _trainer_state(trainer), RUNNER_STATE: json.dumps(dict(extra), indent=2)}
    if isinstance(model, peft.PeftModel):
        weights_file, weights = ADAPTER_WEIGHTS, peft.get_peft_model_state_dict(model)
        texts["adapter_config.json"] = json.dumps(_adapter_config(model), indent=2)
    else:
        weights_file, weights = MODEL_WEIGHTS, untied(model.state_dict())
        texts["config.json"] = cast(PreTrainedModel, model).config.to_json_string()
    for name, tensor in weights.items():
        tensors[f"weights/{name}"] = tensor.detach()
    optimizer = take_tensors(trainer.optimizer.state_dict(), "optimizer", tensors)
    small: dict[str, Any] = {
        SCHEDULER: copy.deepcopy(scheduler.state_dict()),
        rng_state_file(trainer.args.process_index, trainer.args.world_size): _random_states(),
    }
    if method_state:
        small[METHOD_STATE] = dict(method_state)
    if getattr(trainer.accelerator, "scaler", None) is not None:
        small[SCALER] = copy.deepcopy(trainer.accelerator.scaler.state_dict())
    return TrainingState(
        tensors=tensors,
        optimizer=optimizer,
        small=small,
        texts=texts,
        weights_file=weights_file,
    )


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
