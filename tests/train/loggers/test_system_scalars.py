"""Samples of the machine in TensorBoard."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from transformers import TrainerCallback

from runner.train.loggers.system_scalars import LatestSample, scalars, with_system_scalars


def test_each_number_has_a_tag_of_its_own() -> None:
    gpus = [{"index": 1, "memory_gib": 6.5}]
    record = {"time": 1.0, "node": 0, "cpu_percent": 50.0, "gpus": gpus, "samples": 2}
    assert scalars(record) == {"system/cpu_percent": 50.0, "system/gpu.1.memory_gib": 6.5}


def test_a_sample_is_written_once_at_the_step_that_is_logged(tmp_path: Path) -> None:
    written: list[tuple[str, int]] = []

    class Board(TrainerCallback):
        tb_writer = SimpleNamespace(add_scalar=lambda tag, value, step: written.append((tag, step)))

    board: Any = with_system_scalars(Board, tmp_path)()
    state = SimpleNamespace(global_step=7)
    board.on_log(None, state, None, logs={})
    assert written == []
    board.system = LatestSample(tmp_path, every_seconds=0.02)
    until = time.monotonic() + 5
    while not written and time.monotonic() < until:
        time.sleep(0.05)
        board.on_log(None, state, None, logs={})
    board.on_train_end(None, state, None)
    assert ("system/memory_gib", 7) in written
    assert len(written) == len(set(written))
