"""The metric records of one attempt: one for each step, one for each evaluation.

Written to the store every few seconds, and before each checkpoint becomes visible, so that a run resumed from it has
a record for every step up to it.
"""

import json
import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from runner.runs.chunks import ChunkWriter
from runner.storage.retry import STORE_ERRORS
from runner.train.agent.events import Events

FLUSH_SECONDS = 3.0

# What transformers adds to an evaluation's record and that says nothing about the model.
_NOT_METRICS = ("eval_runtime", "eval_model_preparation_time", "eval_steps_per_second", "eval_num_tokens")


class Metrics:
    """Takes records as they come and sends them in pieces.

    Args:
        writer: where to; None: nowhere, for an evaluation that is no part of its run.
        events: to the attempt.
    """

    def __init__(self, writer: ChunkWriter | None, events: Events) -> None:
        self._writer = writer
        self._events = events
        self.stage = ""
        """The stage that records are of."""
        self._collected: dict[str, Any] | None = None
        self._phase = "during"
        if writer is not None:
            threading.Thread(target=self._flush_forever, args=(writer,), name="metrics", daemon=True).start()

    def train_step(self, step: int, max_steps: int, values: dict[str, float]) -> None:
        """One optimizer step was taken."""
        known = in_json(values)
        self._append({"kind": "train", "stage": self.stage, "step": step, **known, "time": time.time()})
        self._events.progress(
            force=step == max_steps,
            phase="training",
            step=step,
            max_steps=max_steps,
            loss=known.get("loss"),
            tokens_per_second=known.get("tokens_per_second"),
        )

    def evaluation(self, step: int, values: dict[str, float]) -> None:
        """An evaluation ended."""
        kept = {name: value for name, value in values.items() if name not in _NOT_METRICS}
        record = {"kind": "eval", "stage": self.stage, "step": step, "phase": "during", **kept, "time": time.time()}
        if self._collected is None:
            self._append(in_json(record))
        else:
            self._collected.update(record)

    @contextmanager
    def evaluating(self, phase: str) -> Iterator[dict[str, Any]]:
        """Within, an evaluation is collected into the yielded record, to be added to, and written at the end.

        Args:
            phase: ``before`` or ``after`` training.
        """
        record: dict[str, Any] = {}
        self._collected, self._phase = record, phase
        try:
            yield record
        finally:
            self._collected, self._phase = None, "during"
        self._append({**in_json(record), "kind": "eval", "stage": self.stage, "phase": phase})

    @property
    def phase(self) -> str:
        """When an evaluation takes place that takes place now: ``before``, ``during`` or ``after`` training."""
        return self._phase

    def flush(self) -> None:
        """Send what there is.

        Raises:
            StoreUnavailable: it is kept, and goes with the next flush.
        """
        if self._writer is not None:
            self._writer.flush()

    def _append(self, record: dict[str, Any]) -> None:
        if self._writer is not None:
            self._writer.append(json.dumps(record) + "\n")

    def _flush_forever(self, writer: ChunkWriter) -> None:
        while True:
            time.sleep(FLUSH_SECONDS)
            try:
                writer.flush()
            except STORE_ERRORS:
                continue  # kept, and tried again; the checkpointer says that the store is away


def in_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what JSON has no word for: a loss that is not a number, or infinite, becomes null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }
