"""What a worker looks at while a trial trains: whether the sweep still wants it, and whether it records the metric."""

import os
import threading
from collections.abc import Callable, MutableMapping, Sequence
from datetime import UTC, datetime
from types import TracebackType

from runner.runs.metrics import read_metrics
from runner.runs.record_types.result import MetricRecord
from runner.storage.manifest import Damaged
from runner.storage.retry import STORE_ERRORS
from runner.storage.store import Store
from runner.sweeps.controller import Controller
from runner.sweeps.definition import Definition
from runner.sweeps.journal import Journal
from runner.train.agent.preemption import STOP_SIGNAL
from runner.train.sweeping.report import no_such_metric


class TrialWatch:
    """A thread that looks at the journal while the context is open, and has the attempt save and end if it must.

    Args:
        store: where the sweep lives.
        definition: the sweep.
        trial: the trial's number.
        run_id: its run.
        worker: who trains it.
        every_seconds: between two looks.
        on_stop: called with the reason when it first asks this process, by `STOP_SIGNAL`, to end the attempt.
    """

    def __init__(
        self,
        store: Store,
        definition: Definition,
        *,
        trial: int,
        run_id: str,
        worker: str,
        every_seconds: float,
        on_stop: Callable[[str], None],
    ) -> None:
        self._store = store
        self._definition = definition
        self._trial = trial
        self._run_id = run_id
        self._worker = worker
        self._every_seconds = every_seconds
        self._on_stop = on_stop
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_forever, name="sweep", daemon=True)
        self._metric_seen = False
        self._chunks: MutableMapping[str, bytes] = {}
        self.told: str | None = None
        """Why the sweep had the attempt end; None: it has not."""
        self.missing: str | None = None
        """That the trial does not record the sweep's metric, and what it does record; None: all is well so far."""

    def __enter__(self) -> "TrialWatch":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _look_forever(self) -> None:
        journal = Journal(self._store, self._definition, by=self._worker)
        controller, asked = Controller(self._definition), False
        while not self._over.wait(self._every_seconds):
            try:
                state = journal.catch_up()
                self.told = controller.must_pause(state, self._trial, self._worker, now=datetime.now(UTC)) or self.told
                if not self._metric_seen and self.missing is None:
                    records = read_metrics(self._store, self._run_id, cache=self._chunks)
                    self._metric_seen, self.missing = look_for_metric(records, self._definition.metric)
            except (*STORE_ERRORS, Damaged):
                continue  # it may be back; the attempt itself waits for it
            reason = self.missing or self.told
            if reason is not None and not self._over.is_set():
                if not asked:
                    self._on_stop(reason)
                asked = True  # and again: the first may come before the attempt listens
                os.kill(os.getpid(), STOP_SIGNAL)


def look_for_metric(records: Sequence[MetricRecord], metric: str) -> tuple[bool, str | None]:
    """Return whether a metric was recorded, and what is wrong if an evaluation came and went without it. Pure.

    Args:
        records: of the trial, so far.
        metric: the sweep's.
    """
    if any(metric in record or metric in record.get("not_finite", ()) for record in records):
        return True, None
    if any(record["kind"] == "eval" and record.get("phase", "during") == "during" for record in records):
        return False, no_such_metric(records, metric)
    return False, None
