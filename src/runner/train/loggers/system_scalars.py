"""TensorBoard gets the first machine's samples as ``system/…``. W&B takes its own."""

import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from transformers import TrainerCallback

from runner.runs.record_types.measured import SystemRecord
from runner.train.agent.machine.gpus import GpuMeter
from runner.train.agent.machine.sampler import SAMPLE_SECONDS, MachineMeter

logger = logging.getLogger(__name__)


class LatestSample:
    """Samples the machine in a thread until it is closed; a training step only takes the newest.

    Args:
        folder: where the run works.
        every_seconds: pause between two samples.
    """

    def __init__(self, folder: Path, *, every_seconds: float = SAMPLE_SECONDS) -> None:
        self._folder = folder
        self._every_seconds = every_seconds
        self._latest: SystemRecord | None = None
        self._over = threading.Event()
        threading.Thread(target=self._sample, name="system-scalars", daemon=True).start()

    def take(self) -> SystemRecord | None:
        """Return the newest sample if nobody has taken it yet."""
        latest, self._latest = self._latest, None
        return latest

    def close(self) -> None:
        """End the thread."""
        self._over.set()

    def _sample(self) -> None:
        meter: MachineMeter | None = None
        while not self._over.wait(min(1.0, self._every_seconds) if meter is None else self._every_seconds):
            try:
                if meter is None:
                    meter = MachineMeter(0, self._folder, GpuMeter(os.environ))
                self._latest = meter.look()
            except Exception as error:  # noqa: BLE001 (whatever a driver or /proc does: the training goes on)
                logger.debug("no sample of the machine: %s", error)


def scalars(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a sample by TensorBoard's tags: ``system/cpu_percent``, ``system/gpu.0.memory_gib``."""
    left_out = ("time", "node", "gpus", "samples")
    found = {f"system/{name}": float(value) for name, value in record.items() if name not in left_out}
    for gpu in record.get("gpus", ()):
        found |= {f"system/gpu.{gpu['index']}.{name}": float(value) for name, value in gpu.items() if name != "index"}
    return found


def with_system_scalars(cls: type[TrainerCallback], folder: Path) -> type[TrainerCallback]:
    """Return a subclass of transformers' callback for TensorBoard that also writes samples of the machine.

    Args:
        cls: the callback's class.
        folder: where the run works.
    """

    def on_train_begin(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        self.system = LatestSample(folder)
        return cast(Any, cls).on_train_begin(self, args, state, control, **kwargs)

    def on_log(self: Any, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> Any:
        result = cast(Any, cls).on_log(self, args, state, control, logs=logs, **kwargs)
        system = getattr(self, "system", None)
        latest = None if system is None else system.take()
        if latest is not None and self.tb_writer is not None:
            for tag, value in scalars(latest).items():
                self.tb_writer.add_scalar(tag, value, state.global_step)
        return result

    def on_train_end(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        if getattr(self, "system", None) is not None:
            self.system.close()
        return cast(Any, cls).on_train_end(self, args, state, control, **kwargs)

    methods = {"on_train_begin": on_train_begin, "on_log": on_log, "on_train_end": on_train_end}
    return type(cls.__name__, (cls,), methods)
