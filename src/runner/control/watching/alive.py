"""All that is alive in a store: runs that train or wait for a machine, and sweeps with workers.

Between two looks only these are read again, and runs that are new; every 20 seconds the whole store is listed, since
one of the others may have been resumed.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from runner.backends.lock import lock_holder
from runner.backends.registry import backend_for
from runner.errors import UserError
from runner.paths import state_folder
from runner.reports.top import Alive, WatchedRun, WatchedSweep
from runner.runs.layout import RUNS, SWEEPS, is_run_id
from runner.runs.listing import list_runs, look_at
from runner.runs.measured.recent import DetailsReader
from runner.runs.status import RunStatus
from runner.storage.manifest import Damaged
from runner.storage.store import NotFound, Store
from runner.sweeps.definition import read_definition
from runner.sweeps.journal import Journal
from runner.sweeps.layout import is_sweep_id, sweep_key
from runner.sweeps.views.overview import Overview, make_overview

RECENT_SECONDS = 600.0
"""A run that nothing is known to work on is shown for so long after its last sign, or its launch: it may be restarted
from elsewhere."""

_LIST_SECONDS = 20.0
_READERS = 16


class AliveReader:
    """Looks at a store again and again. Not for several threads at once.

    Args:
        store: where the runs live.
        clock: seconds that only go forward.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._listed_at = float("-inf")
        self._statuses: dict[str, RunStatus] = {}
        self._shown: set[str] = set()
        """Runs and sweeps that were alive at some look."""
        self._trained: set[str] = set()
        """Trials that a worker had at the last look."""
        self._readers: dict[str, DetailsReader] = {}
        self._journals: dict[str, Journal] = {}
        self._over: set[str] = set()
        """Sweeps that were over when the store was listed last."""
        self._damaged: dict[str, str] = {}

    def look(self) -> Alive:
        """Read what is alive now.

        Raises:
            StoreUnavailable: the store does not answer.
            UserError: the store refuses us.
        """
        now = self._clock()
        relist = now - self._listed_at >= _LIST_SECONDS
        if relist:
            self._listed_at = now
            self._damaged, self._over = {}, set()
            runs = list_runs(self._store, on_damaged=self._note_damaged)
            self._statuses = {run.run_id: run for run in runs}
        else:
            self._refresh()
        sweeps = self._sweeps()
        trials = {row.run_id: row.outlook for sweep in sweeps for row in sweep.trials}
        self._trained = {run_id for run_id, outlook in trials.items() if outlook == "running"}
        alive, asleep = [], 0
        for run in self._statuses.values():
            if run.run_id in trials:
                continue
            if run.terminal:
                if run.run_id in self._shown:
                    alive.append(run)
            elif self._works_on(run):
                self._shown.add(run.run_id)
                alive.append(run)
            elif not run.paused:
                asleep += 1
        trial_runs = [self._statuses[run_id] for run_id in trials if run_id in self._statuses]
        of_sweeps = [run for run in trial_runs if run.state == "running"]
        watched = {run.status.run_id: run for run in self._read_details([*alive, *of_sweeps])}
        ordered = sorted(alive, key=lambda run: (run.created_at, run.run_id), reverse=True)
        return Alive(
            runs=[watched[run.run_id] for run in ordered],
            sweeps=[
                WatchedSweep(
                    overview=sweep,
                    trials=[watched[row.run_id] for row in sweep.trials if row.run_id in watched],
                )
                for sweep in sweeps
            ],
            asleep=asleep,
            damaged=dict(self._damaged),
        )

    # -- runs ------------------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Look again at runs that are alive, and at those that are new."""
        names = [name for name in self._store.folders(RUNS) if is_run_id(name)]
        there = set(names)
        self._statuses = {run_id: run for run_id, run in self._statuses.items() if run_id in there}
        alive = self._shown | self._trained
        again = [
            name
            for name in names
            if name not in self._statuses or (name in alive and not self._statuses[name].terminal)
        ]
        for status in look_at(self._store, again, on_damaged=self._note_damaged):
            self._statuses[status.run_id] = status
            self._damaged.pop(status.run_id, None)

    def _works_on(self, run: RunStatus) -> bool:
        """Whether something works on a run that has not ended, or may."""
        if run.state == "running" or lock_holder(state_folder(self._store.url, run.run_id)) is not None:
            return True
        if run.paused:
            return False
        if not backend_for(run.infra).supervised_here:
            backend_for(run.infra).refresh(self._store, [run.run_id])
            return run.retry
        sign = run.last_sign_seconds
        if sign is None:
            sign = (datetime.now(UTC) - datetime.fromisoformat(run.created_at)).total_seconds()
        return run.retry and sign < RECENT_SECONDS

    def _read_details(self, runs: Sequence[RunStatus]) -> list[WatchedRun]:
        def read(run: RunStatus) -> WatchedRun:
            reader = self._readers.setdefault(run.run_id, DetailsReader(self._store, run.run_id))
            try:
                return WatchedRun(status=run, details=reader.read(run))
            except (Damaged, NotFound) as error:
                self._note_damaged(run.run_id, error)
                return WatchedRun(status=run)

        with ThreadPoolExecutor(_READERS, thread_name_prefix="top") as pool:
            return list(pool.map(read, runs))

    # -- sweeps ----------------------------------------------------------------------------------------------------

    def _sweeps(self) -> list[Overview]:
        """Return the sweeps that have workers, or wait for their first ones, the newest first."""
        names = [name for name in self._store.folders(SWEEPS) if is_sweep_id(name) and name not in self._over]
        with ThreadPoolExecutor(_READERS, thread_name_prefix="sweeps") as pool:
            found = [overview for overview in pool.map(self._sweep, names) if overview is not None]
        return sorted(found, key=lambda overview: overview.definition.created_at, reverse=True)

    def _sweep(self, sweep_id: str) -> Overview | None:
        try:
            journal = self._journals.get(sweep_id)
            if journal is None:
                journal = Journal(self._store, read_definition(self._store, sweep_id), by="a reader")
                self._journals[sweep_id] = journal
            state = journal.catch_up()
        except NotFound:
            return None
        except (Damaged, UserError) as error:
            self._note_damaged(sweep_id, error)
            self._over.add(sweep_id)
            return None
        overview = make_overview(journal.definition, state, now=datetime.now(UTC))
        at_work = overview.condition in ("running", "stopping") and self._has_sign(sweep_id)
        if at_work or self._is_new(overview) or sweep_id in self._shown:
            self._shown.add(sweep_id)
            return overview
        self._over.add(sweep_id)
        return None

    def _has_sign(self, sweep_id: str) -> bool:
        """Whether a worker has given a sign of late: of workers that were killed the journal hears from others only."""
        signs = [info.last_modified for info in self._store.objects(sweep_key(sweep_id, "workers/"))]
        return not signs or (datetime.now(UTC) - max(signs)).total_seconds() < RECENT_SECONDS

    @staticmethod
    def _is_new(overview: Overview) -> bool:
        created = datetime.fromisoformat(overview.definition.created_at)
        is_recent = (datetime.now(UTC) - created).total_seconds() < RECENT_SECONDS
        return overview.condition == "waiting for workers" and is_recent

    def _note_damaged(self, name: str, error: Exception) -> None:
        self._damaged[name] = str(error)
