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
"""Pause between two writes to the store."""

_NOT_METRICS = ("eval_runtime", "eval_model_preparation_time", "eval_steps_per_second", "eval_num_tokens")
"""What transformers adds to an evaluation's record and says nothing about the model."""

_NAN, _INFINITY = "NaN", "Infinity"
"""JavaScript's words; Python's `float` reads them."""


class Metrics:
    """Takes metric records one by one and writes them to the store in pieces.

    Args:
        writer: writes to the store; None to keep nothing, for an evaluation that is not part of its run.
        events: tells the agent of progress.
    """

    def __init__(self, writer: ChunkWriter | None, events: Events) -> None:
        self._writer = writer
        self._events = events
        self.stage = ""
        """Name of the stage that the next records belong to."""
        self._collected: dict[str, Any] | None = None
        self._phase = "during"
        if writer is not None:
            threading.Thread(target=self._flush_forever, args=(writer,), name="metrics", daemon=True).start()

    def train_step(self, step: int, max_steps: int, values: dict[str, float]) -> None:
        """Record one optimizer step."""
        finite = in_json(values)
        self._append({"kind": "train", "stage": self.stage, "step": step, **finite, "time": time.time()})
        self._events.progress(
            force=step == max_steps,
            phase="training",
            step=step,
            max_steps=max_steps,
            loss=finite.get("loss"),
            tokens_per_second=finite.get("tokens_per_second"),
            tokens=None if finite.get("num_tokens") is None else int(finite["num_tokens"]),
        )

    def batch_done(self) -> None:
        """Tell the agent that a batch was computed, so that a long step or evaluation is not taken for a hang."""
        self._events.alive()

    def evaluation(self, step: int, values: dict[str, float]) -> None:
        """Record an evaluation."""
        metrics = {name: value for name, value in values.items() if name not in _NOT_METRICS}
        record = {"kind": "eval", "stage": self.stage, "step": step, "phase": "during", **metrics, "time": time.time()}
        if self._collected is None:
            self._append(in_json(record))
        else:
            self._collected.update(record)

    @contextmanager
    def evaluating(self, phase: str) -> Iterator[dict[str, Any]]:
        """Within, collect evaluations into the yielded record, which the caller may add to; write it at the end.

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
        """The phase of an evaluation that runs now: ``before``, ``during`` or ``after`` training."""
        return self._phase

    def flush(self) -> None:
        """Write all records so far.

        Raises:
            StoreUnavailable: the records are kept for the next flush.
        """
        if self._writer is not None:
            self._writer.flush()

    def _append(self, record: dict[str, Any]) -> None:
        if self._writer is not None:
            self._writer.append(json.dumps(record) + "\n")

    def _flush_forever(self, writer: ChunkWriter) -> None:
        while True:
            time.sleep(FLUSH_SECONDS)
            self._events.send_withheld()
            try:
                writer.flush()
            except STORE_ERRORS:
                continue  # the records are kept; the checkpointer warns that the store does not answer


def in_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values that JSON can hold: those that are infinite or not a number become null.

    Which they were is added as `not_finite`: their names with ``NaN``, ``Infinity`` or ``-Infinity``.
    """
    infinite = {
        name: _NAN if math.isnan(value) else _INFINITY if value > 0 else f"-{_INFINITY}"
        for name, value in values.items()
        if isinstance(value, float) and not math.isfinite(value)
    }
    finite = {name: None if name in infinite else value for name, value in values.items()}
    return {**finite, "not_finite": infinite} if infinite else finite
