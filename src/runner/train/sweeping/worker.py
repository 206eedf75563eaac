"""A worker of a sweep: joins it, takes one trial after the other, reports what became of each, and leaves."""

import logging
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from socket import gethostname
from types import FrameType
from typing import TypeVar

from runner.errors import UserError
from runner.exit_codes import INTERRUPTED, SUCCEEDED
from runner.runs.layout import new_nonce
from runner.runs.record_types.money import PriceRecord
from runner.runs.records import run_result, times_reopened
from runner.runs.reopened import reopen_run
from runner.storage.manifest import Damaged
from runner.storage.retry import STORE_ERRORS, after, retry_store_call
from runner.storage.store import Store, StoreUnavailable
from runner.sweeps.controller import Controller, Work
from runner.sweeps.definition import Definition, refuse_other_version
from runner.sweeps.events import Entry, Event
from runner.sweeps.journal import Journal
from runner.sweeps.state import SweepState
from runner.sweeps.trials import create_trial
from runner.sweeps.workers.heartbeats import lost_workers, write_worker_heartbeat
from runner.train.agent.log import LOGGER
from runner.train.agent.preemption import STOP_SIGNAL
from runner.train.agent.restore import KEPT
from runner.train.agent.setup import Spawn
from runner.train.agent.timing import DEFAULT_TIMING, Timing
from runner.train.entrypoint import run_attempt
from runner.train.sweeping.end_news import tell_sweep_end
from runner.train.sweeping.report import TrialEnd, find_end, mistake, one_line
from runner.train.sweeping.watch import TrialWatch

_log = logging.getLogger(f"{LOGGER}.sweep_worker")

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class WorkerTiming:
    """Pauses and patience of a worker, in seconds. Tests pass shorter ones."""

    beat: float = 10.0
    """Between two heartbeats."""
    look: float = 5.0
    """Between two looks at the journal while a trial trains."""
    wait: float = 0.5
    """Before the journal is asked again when there is nothing to do; grows to ten times that."""
    lost: float = 15.0
    """Between two looks for workers that are gone, while there is work."""
    store: float = 600.0
    """How long a store that does not answer is waited for."""


@dataclass(kw_only=True)
class SweepWorker:
    """A worker. Use it once, in the main thread.

    Args:
        store: where the sweep lives.
        definition: the sweep.
        name: the worker's, which no other has.
        work_dir: a local folder of its own.
        spawn: starts a training process.
        accelerator: the GPU that it trains on, as SkyPilot names it; None: a CPU, or unknown.
        price: what its hour costs; None: it has no price.
        idle_seconds: after which it leaves if there is nothing to do; None: when the sweep has ended.
        redact: hides secrets in what is printed and recorded.
    """

    store: Store
    definition: Definition
    name: str
    work_dir: Path
    spawn: Spawn
    accelerator: str | None = None
    price: PriceRecord | None = None
    idle_seconds: float | None = None
    redact: Callable[[str], str] = str
    prepare: Callable[[float], bool] = lambda seconds: True
    """Waits for so long at most until trials can begin; whether they can."""
    timing: WorkerTiming = WorkerTiming()
    attempt_timing: Timing = DEFAULT_TIMING
    _stopping: bool = False
    _trial: int | None = None
    _journal: Journal = field(init=False)
    _controller: Controller = field(init=False)

    def __post_init__(self) -> None:
        self._ended_entry: int | None = None
        """The number of the journal's entry that says that the sweep has ended, if this worker has seen it come."""
        self._journal = Journal(self.store, self.definition, by=self.name, on_entry=self._note_entry)
        self._controller = Controller(self.definition)

    def run(self) -> int:
        """Work until there is nothing left to do; return the exit code.

        Returns:
            0: nothing is left to do. 75: it was told to stop, or the store stayed away.

        Raises:
            UserError: the sweep is another version's.
            Damaged: the sweep's records cannot be trusted.
        """
        refuse_other_version(self.definition)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.signal(STOP_SIGNAL, lambda *_: None)  # one that comes when its attempt has ended
        try:
            self._append(lambda state: [] if state.is_there(self.name) else [self._joined()])
            with self._beating():
                reason = self._work()
            self._leave(reason)
        except StoreUnavailable as error:
            _log.error("the store does not answer: %s", error)
            return INTERRUPTED
        return INTERRUPTED if self._stopping else SUCCEEDED

    # -- work ------------------------------------------------------------------------------------------------------

    def _work(self) -> str:
        """Take trials until there is none; return why."""
        if self._journal.state.ended is None:
            while not self._stopping and not self.prepare(0.2):
                pass
        idle_since, pause, look_at = time.monotonic(), self.timing.wait, 0.0
        while not self._stopping:
            if time.monotonic() > look_at:
                self._note_lost()
                look_at = time.monotonic() + self.timing.lost
            self._rejoin()
            work = self._next_work()
            if work.kind == "train":
                assert work.trial is not None
                self._train(work.trial, work.until)
                idle_since, pause = time.monotonic(), self.timing.wait
                continue
            if work.kind == "leave":
                return work.reason
            if self.idle_seconds is not None and time.monotonic() - idle_since > self.idle_seconds:
                return f"nothing to do for {self.idle_seconds / 60:.0f} minutes"
            if not self._note_lost():
                self._sleep(pause)
                pause = min(1.5 * pause, 10 * self.timing.wait)
        return "told to stop"

    def _next_work(self) -> Work:
        decided: list[Work] = []

        def decide(state: SweepState) -> list[Event]:
            if not state.is_there(self.name):  # it was taken for lost, and is not
                decided.append(Work(kind="wait", reason="it was taken for lost"))
                return []
            work, events = self._controller.next_work(state, self.name, now=datetime.now(UTC))
            decided.append(work)
            return events

        self._append(decide)
        return decided[-1]

    def _train(self, trial: int, until: int | None) -> None:
        """Train a trial until it pauses, ends, or is taken from us, and report that."""
        began = time.monotonic()
        self._trial = trial
        _log.info("trial %d: training to %s", trial, "its end" if until is None else f"step {until}")
        try:
            end = self._attempt(trial, until)
        except (StoreUnavailable, UserError) as error:  # the store's refusal: it says nothing of the trial
            end = TrialEnd(kind="released", reason=one_line(str(error)))
        except Damaged as error:
            end = TrialEnd(kind="failed", failure="mistake", reason=f"damaged in the store: {error}")
        finally:
            self._trial = None
        _log.info("trial %d: %s%s", trial, end.kind, f": {end.reason}" if end.reason else "")
        seconds = time.monotonic() - began
        self._append(end.events(self._controller, trial, self.name, seconds=seconds))

    def _attempt(self, trial: int, until: int | None) -> TrialEnd:
        entry = self._journal.state.trials[trial]
        try:
            run_id = create_trial(
                self.store,
                self.definition,
                trial,
                entry.values,
                settings=entry.settings,
                folder=self.work_dir / "inputs",
                call=self._patiently,
            )
        except UserError as error:
            return mistake(error)
        self._patiently(lambda: self._reopen(run_id))
        watch = TrialWatch(
            self.store,
            self.definition,
            trial=trial,
            run_id=run_id,
            worker=self.name,
            every_seconds=self.timing.look,
            on_stop=self._note_told,
        )
        work_dir = self.work_dir / "runs" / run_id
        with watch:
            run_attempt(
                self.store,
                run_id,
                work_dir,
                spawn=self.spawn,
                redact=self.redact,
                timing=self.attempt_timing,
                until_step=until,
                price=self.price,
                schedule_steps=(until or self.definition.max_steps) if self.definition.schedule == "rung" else None,
            )
        metric, goal = self.definition.metric, self.definition.goal
        told = None if self._stopping else watch.told
        end = self._patiently(lambda: find_end(self.store, run_id, metric=metric, goal=goal, until=until, told=told))
        if not any((work_dir / KEPT).glob("*")):
            shutil.rmtree(work_dir, ignore_errors=True)  # what counts is in the store, for whoever goes on with it
        if watch.missing is not None and end.kind == "released" and not self._stopping:
            return TrialEnd(kind="failed", step=end.step, failure="mistake", reason=one_line(watch.missing))
        return end

    def _reopen(self, run_id: str) -> None:
        """Go on with a run that has failed: it was given to us again."""
        result = run_result(self.store, run_id)
        if result is not None and result["state"] == "failed":
            reopen_run(self.store, run_id, result, times=times_reopened(self.store, run_id))

    @contextmanager
    def _beating(self) -> Iterator[None]:
        """Within, write heartbeats from a thread of their own."""
        over = threading.Event()

        def beat() -> None:
            while True:
                with suppress(*STORE_ERRORS):  # the next one will do
                    write_worker_heartbeat(self.store, self.definition.sweep_id, self.name, trial=self._trial)
                if over.wait(self.timing.beat):
                    return

        thread = threading.Thread(target=beat, name="beat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _note_told(self, reason: str) -> None:
        _log.info("trial %s ends at its next step: %s", self._trial, reason)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _joined(self) -> Event:
        return {
            "event": "joined",
            "worker": self.name,
            "host": gethostname(),
            "accelerator": self.accelerator,
            "dollars_per_hour": 0.0 if self.price is None else self.price["dollars_per_hour"],
            "trials_per_gpu": self.definition.trials_per_gpu,
        }

    def _rejoin(self) -> None:
        """Come back under another name, if the others took this worker for lost: what it had is theirs."""
        known = self._journal.state.workers.get(self.name)
        if known is not None and known.left_at is not None:
            _log.warning("this worker was taken for lost (%s); it goes on under another name", known.reason)
            self.name = f"{self.name.rsplit('-', 1)[0]}-{new_nonce(4)}"
            self._append(lambda state: [self._joined()])

    def _leave(self, reason: str) -> None:
        self._append(lambda state: self._controller.leaving(state, self.name, reason=reason))
        if self._journal.state.ended is not None and self._ended_entry is not None:
            tell_sweep_end(
                self.store,
                self.definition,
                self._journal.state,
                entry=self._ended_entry,
                redact=self.redact,
                patience_seconds=self.attempt_timing.notify,
            )

    def _note_entry(self, entry: Entry) -> None:
        if any(event["event"] == "ended" for event in entry["events"]):
            self._ended_entry = entry["number"]

    def _note_lost(self) -> bool:
        """Free the trials of workers that are gone; return whether there were any."""
        try:
            gone = list(lost_workers(self.store, self.definition.sweep_id, self._journal.state))
        except STORE_ERRORS:
            return False
        others = [worker for worker in gone if worker.name != self.name]
        for worker in others:
            self._append(worker.events(self._controller))
        return bool(others)

    def _append(self, decide: Callable[[SweepState], Sequence[Event]]) -> None:
        self._patiently(lambda: self._journal.append(decide))

    def _patiently(self, call: Callable[[], T]) -> T:
        """Make a request again and again, also while the store refuses us: it was permitted when the sweep began."""
        return retry_store_call(call, until=after(self.timing.store))

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < until:
            time.sleep(min(0.1, seconds))

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
