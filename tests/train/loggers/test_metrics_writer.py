"""What is infinite or not a number is recorded as it is, in valid JSON."""

import json
import math
from typing import Any

from runner.train.agent.events import Events
from runner.train.loggers.metrics_writer import Metrics
from runner.train.loggers.trackers import logged_values


class Lines:
    """Keeps what a `ChunkWriter` would write."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def append(self, line: str) -> None:
        self.lines.append(line)

    def flush(self) -> None:
        pass


def recorded(**values: float) -> dict[str, Any]:
    lines = Lines()
    metrics = Metrics(lines, Events(-1))  # type: ignore[arg-type]
    metrics.stage = "sft"
    metrics.train_step(3, 10, values)

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    record: dict[str, Any] = json.loads(lines.lines[0], parse_constant=refuse)
    return record


def test_a_loss_that_is_not_a_number_is_null_and_says_so() -> None:
    record = recorded(loss=math.nan, grad_norm=math.inf, kl=-math.inf, learning_rate=0.5)
    assert (record["loss"], record["grad_norm"], record["kl"], record["learning_rate"]) == (None, None, None, 0.5)
    assert record["not_finite"] == {"loss": "NaN", "grad_norm": "Infinity", "kl": "-Infinity"}
    assert "not_finite" not in recorded(loss=1.0)


def test_trackers_get_it_back_as_it_was() -> None:
    values = logged_values(recorded(loss=math.nan, grad_norm=math.inf))
    assert math.isnan(values["loss"])
    assert values["grad_norm"] == math.inf
