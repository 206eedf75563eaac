"""`report_to`: W&B and TensorBoard as transformers does them, fed every `logging_steps`, one run across attempts.

What these two write to this machine's disk is lost with the machine, and W&B loses what it has not written yet when the
process is killed. So each attempt begins their files anew and replays the run's metrics so far from the store: the
files of the last attempt are those of a run that was never interrupted. W&B online has the earlier metrics already.
"""

import copy
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import (
    TensorBoardCallback,
    WandbCallback,
    get_reporting_integration_callbacks,
)

from runner.errors import UserError
from runner.runs.record_types.run import TrialOfSweep
from runner.train.agent.log import NOTICE
from runner.train.loggers.system_scalars import with_system_scalars
from runner.train.loggers.tracker_guard import answers, guarded, within

logger = logging.getLogger(__name__)

FOLDERS = ("wandb", "tensorboard")
"""Folders below the run's working folder that hold what these trackers write on this machine."""

_OFFLINE = ("offline", "dryrun")
"""W&B's modes that write to this machine's disk only."""


_WANDB = "https://api.wandb.ai"
_INIT_SECONDS = 15
"""How long W&B may take to begin its run; by default it tries for 90 s, and then ends the training."""
_FINISH_SECONDS = 60
"""How long the end of a stage waits for W&B's last uploads."""
_LIMITS = {
    "WANDB_INIT_TIMEOUT": str(_INIT_SECONDS),
    # By default a server that is away costs each call several minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}

_set_here: dict[str, str] = {}
"""Environment variables that this module has set, with their values: the next stage may set them again."""


def make_trackers(
    report_to: str | Sequence[str],
    *,
    run_id: str,
    stage: str | None,
    folder: Path,
    is_logging_step: Callable[[TrainerState], bool],
    sweep: TrialOfSweep | None = None,
) -> list[TrainerCallback]:
    """Return transformers' own callbacks for `report_to`, set up for this run.

    W&B gets the run's id, so that all attempts are one W&B run, and works offline where there is no `WANDB_API_KEY`
    (unless `WANDB_MODE` says otherwise). Each stage is a W&B run of its own, since its steps begin at 1; the stages of
    a run are a W&B group with the run's id. The trials of a sweep are one group with the sweep's id, and what was drawn
    stands in each one's config under its name in the sweep's file, as W&B has it. Variables that the user has set in
    the environment win.

    A tracker that fails or is away is left out with a warning. W&B then works offline: its files become an artifact.

    Args:
        report_to: names of trackers, as in the recipe.
        run_id: the run.
        stage: the stage's name; None in a recipe without stages.
        folder: where trackers write on this machine.
        is_logging_step: whether trackers get a training step's record.
        sweep: which trial of which sweep the run is, if it is one.

    Raises:
        UserError: a tracker's package is not installed, or the name is unknown.
    """
    names = [report_to] if isinstance(report_to, str) else list(report_to)
    names = [name for name in names if name != "none"]
    name = run_id if stage is None else f"{run_id}-{stage}"
    _set("WANDB_RUN_ID", name)
    _set("WANDB_RESUME", "allow")
    _set("WANDB_NAME", name)
    if sweep is not None:
        _set("WANDB_RUN_GROUP", sweep["sweep_id"])
    elif stage is not None:
        _set("WANDB_RUN_GROUP", run_id)
    _set("WANDB_DIR", str(folder))
    _set("WANDB_CONSOLE", "off")  # the run's log has all of it, without the values of secrets
    if not os.environ.get("WANDB_API_KEY"):
        _set("WANDB_MODE", "offline")
    elif "wandb" in names:
        _go_offline_if_away()
    for variable, value in _LIMITS.items():
        _set(variable, value)
    _set("TENSORBOARD_LOGGING_DIR", str(folder / "tensorboard"))
    for tracker in FOLDERS:
        if tracker != "wandb" or _wandb_is_offline():
            shutil.rmtree(folder / tracker, ignore_errors=True)
    try:
        classes = get_reporting_integration_callbacks(names)
        drawn = {} if sweep is None else sweep.get("parameters", {})
        classes = [_with_config(cls, drawn) if drawn and issubclass(cls, WandbCallback) else cls for cls in classes]
        classes = [with_system_scalars(cls, folder) if issubclass(cls, TensorBoardCallback) else cls for cls in classes]
        return [_thin_out(guarded(cls, _name(cls), second_try=_goes_offline), is_logging_step)() for cls in classes]
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"{names!r} cannot be reported to: {error}",
            where="training.report_to",
            remedy="install the tracker's package in the environment that trains, or take its name out",
        ) from error


def _name(cls: type[TrainerCallback]) -> str:
    """The tracker's name, as in `report_to`."""
    return cls.__name__.removesuffix("Callback").lower()


def _go_offline_if_away() -> None:
    """Have W&B work offline in this attempt if its server does not answer."""
    if _wandb_is_offline() or os.environ.get("WANDB_MODE") == "disabled":
        return
    away = answers(os.environ.get("WANDB_BASE_URL") or _WANDB)
    if away is not None:
        _go_offline(away)


def _go_offline(reason: str) -> None:
    os.environ["WANDB_MODE"] = "offline"
    logger.warning(
        f"W&B does not answer ({reason}): it works offline; `wandb sync` uploads what `runner pull` fetches as the "
        "artifact wandb",
        extra=NOTICE,
    )


def _goes_offline(callback: Any) -> bool:
    """Prepare another try after a tracker has failed: W&B is set up again, offline, if it was online."""
    wandb = sys.modules.get("wandb")
    if not isinstance(callback, WandbCallback) or _wandb_is_offline() or wandb is None or wandb.run is not None:
        return False
    os.environ["WANDB_MODE"] = "offline"
    within(_INIT_SECONDS, lambda: wandb.teardown(exit_code=0), "W&B's restart")
    callback._initialized = False
    return True


def _set(name: str, value: str) -> None:
    """Set an environment variable, unless the user has set it."""
    if os.environ.get(name) == _set_here.get(name):
        os.environ[name] = _set_here[name] = value


def _with_config(cls: type[TrainerCallback], values: Mapping[str, Any]) -> type[TrainerCallback]:
    """Return a subclass of W&B's callback that puts `values` into the config of the W&B run, beside transformers'."""

    def setup(self: Any, args: TrainingArguments, state: TrainerState, model: Any, **kwargs: Any) -> None:
        cast(Any, cls).setup(self, args, state, model, **kwargs)
        if state.is_world_process_zero and self._wandb is not None and self._wandb.run is not None:
            self._wandb.config.update(dict(values), allow_val_change=True)

    return type(cls.__name__, (cls,), {"setup": setup})


def _thin_out(cls: type[TrainerCallback], is_logging_step: Callable[[TrainerState], bool]) -> type[TrainerCallback]:
    """Return a subclass that gets a training record only every `logging_steps`; the trainer itself logs each step."""

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


def replay_metrics(
    trainer: Trainer, read_records: Callable[[], Iterable[Mapping[str, Any]]], *, max_steps: int
) -> None:
    """Give the metrics of earlier attempts to the trackers that write to this machine's disk.

    Args:
        trainer: its callbacks get the records.
        read_records: returns the run's metrics so far, as `read_metrics` does; only called if there is such a tracker.
        max_steps: the number of steps of the run.
    """
    trackers: list[Any] = [
        callback
        for callback in trainer.callback_handler.callbacks
        if isinstance(callback, TensorBoardCallback) or (isinstance(callback, WandbCallback) and _wandb_is_offline())
    ]
    if not trackers:
        return
    state = copy.copy(trainer.state)
    state.max_steps = max_steps
    for record in read_records():
        if record.get("phase") == "after":
            continue  # this attempt measures it again
        state.global_step = record["step"]
        logs = logged_values(record)
        for callback in trackers:
            callback.on_log(trainer.args, state, trainer.control, model=trainer.model, logs=dict(logs))


def logged_values(record: Mapping[str, Any]) -> dict[str, float]:
    """Return a record of the run's metrics in the form in which the trainer logged it."""
    values = {**record, **{name: float(word) for name, word in record.get("not_finite", {}).items()}}
    numbers = {
        name: value for name, value in values.items() if isinstance(value, int | float) and name not in ("step", "time")
    }
    if record["kind"] == "train":
        return numbers
    return {name: value for name, value in numbers.items() if name.startswith("eval_") or name == "epoch"}


def _wandb_is_offline() -> bool:
    return os.environ.get("WANDB_MODE") in _OFFLINE


def finish_reporting() -> None:
    """Make W&B write what it still holds, within a minute; does nothing if W&B is not in use."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        within(_FINISH_SECONDS, wandb.finish, "W&B's last upload")
