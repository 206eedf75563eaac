"""`report_to`: W&B and TensorBoard as transformers does them, fed every `logging_steps`, one run across attempts."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import get_reporting_integration_callbacks

from runner.spec.errors import UserError

FOLDERS = ("wandb", "tensorboard")
"""Folders below the run's working folder that hold what these trackers write on this machine."""


def reporters(
    report_to: str | Sequence[str], *, run_id: str, folder: Path, is_logging_step: Callable[[TrainerState], bool]
) -> list[TrainerCallback]:
    """transformers' own callbacks for `report_to`, set up for this run.

    W&B gets the run's id, so that all attempts are one W&B run, and works offline where there is no `WANDB_API_KEY`
    (unless `WANDB_MODE` says otherwise). What is set in the environment wins.

    Raises:
        UserError: a tracker's package is not installed, or the name is unknown.
    """
    names = [report_to] if isinstance(report_to, str) else list(report_to)
    names = [name for name in names if name != "none"]
    os.environ.setdefault("WANDB_RUN_ID", run_id)
    os.environ.setdefault("WANDB_RESUME", "allow")
    os.environ.setdefault("WANDB_NAME", run_id)
    os.environ.setdefault("WANDB_DIR", str(folder))
    if not os.environ.get("WANDB_API_KEY"):
        os.environ.setdefault("WANDB_MODE", "offline")
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(folder / "tensorboard"))
    try:
        classes = get_reporting_integration_callbacks(names)
        return [_thinned(cls, is_logging_step)() for cls in classes]
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"{names!r} cannot be reported to: {error}",
            where="training.report_to",
            remedy="install the tracker's package in the environment that trains, or take its name out",
        ) from error


def _thinned(cls: type[TrainerCallback], is_logging_step: Callable[[TrainerState], bool]) -> type[TrainerCallback]:
    """`cls`, seeing a training record only every `logging_steps`; the trainer itself logs each step."""

    def on_log(
        self: Any,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> Any:
        if logs is not None and "loss" in logs and not is_logging_step(state):
            return None
        return cls.on_log(self, args, state, control, logs=logs, **kwargs)

    return type(cls.__name__, (cls,), {"on_log": on_log})


def finish_reporting() -> None:
    """Have W&B write what it still holds; safe to call when nothing is reported."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish(quiet=True)
