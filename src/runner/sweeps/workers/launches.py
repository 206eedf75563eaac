"""Records of each time that workers of a sweep were started: ``sweeps/<sweep_id>/launches/<n>.json``.

The record is written before anything is started, and what came of it after: so that the workers are found, and can be
ended, from any machine and even if the process that started them has died.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict, cast

from runner.process import boot_id
from runner.runs.launches import PLACEMENT_FIELDS, task_name
from runner.runs.layout import SECRET_NAMES, sweep_key
from runner.runs.record_types.rules import Count, JobName, Line, Size
from runner.runs.record_types.run import PlacementRecord
from runner.runs.records import encoded, find_record, numbered_records, utc_now
from runner.storage.store import Store


class WorkersRecord(PlacementRecord):
    """``launches/<n>.json``: workers are about to be started. Written once."""

    number: Count
    """Counted from 1, as in the key."""
    name: JobName
    """SkyPilot's name of their jobs, which all have the same one; on this machine, what they are called in messages."""
    engine: Line
    """``skypilot``, ``local`` or ``docker``."""
    count: Size
    """How many: of machines, or of processes on this machine."""
    environment: NotRequired[list[Line]]
    """Names of the variables that they are given."""
    requested_at: NotRequired[Line]
    """When."""
    host: NotRequired[Line]
    """Where they were launched."""
    boot_id: NotRequired[Line | None]
    """The kernel's id of that machine's boot then; None if it has none."""


class WorkersStarted(TypedDict):
    """``launches/<n>.started.json``: what they have become. Written once."""

    job_ids: NotRequired[list[int]]
    """SkyPilot's numbers of the jobs."""
    pid: NotRequired[Count]
    """The process that starts the workers of a machine of one's own, and ends with the last of them."""
    container: NotRequired[Line]
    """The container that they are in, on a machine of one's own."""


class WorkersEnded(TypedDict):
    """``launches/<n>.ended.json``: none of them is left, nor any machine of theirs. Written once."""

    status: Line
    """``ENDED``, ``STOPPED``, ``REFUSED``, or SkyPilot's word."""
    reason: NotRequired[str | None]
    """Why, if that is known."""
    ended_at: NotRequired[Line]
    """When that was seen."""


@dataclass(frozen=True, kw_only=True)
class WorkersLaunch:
    """One time that workers of a sweep were started."""

    sweep_id: str
    """The sweep."""
    number: int
    """Launches are counted from 1."""
    record: WorkersRecord
    """``launches/<n>.json``."""
    started: WorkersStarted | None = None
    """``launches/<n>.started.json``; None as long as nothing has answered."""
    ended: WorkersEnded | None = None
    """``launches/<n>.ended.json``; None as long as one may be left."""

    @property
    def is_from_here(self) -> bool:
        """Whether this machine, since it was booted, started them."""
        known = self.record.get("boot_id")
        return known is not None and known == boot_id()


def note_workers(
    store: Store, sweep_id: str, place: Mapping[str, Any], *, engine: str, count: int, environment: list[str]
) -> WorkersLaunch:
    """Record that workers are about to be started; the name of their jobs is made here.

    Args:
        store: where the sweep lives.
        sweep_id: the sweep.
        place: holds `PLACEMENT_FIELDS`.
        engine: ``skypilot``, ``local`` or ``docker``.
        count: how many.
        environment: names of the variables that they are given.
    """
    from socket import gethostname  # not above: a status reads launches and writes none

    number = max(numbered_records(store, _prefix(sweep_id)), default=0) + 1
    while True:
        record = {
            "number": number,
            "name": workers_name(sweep_id, number),
            "engine": engine,
            "count": count,
            "environment": sorted(set(environment) - {SECRET_NAMES}),
            "requested_at": utc_now(),
            "host": gethostname(),
            "boot_id": boot_id(),
            **{key: place[key] for key in PLACEMENT_FIELDS if key in place},
        }
        if store.create(_key(sweep_id, number), encoded(record)):
            return WorkersLaunch(sweep_id=sweep_id, number=number, record=cast(WorkersRecord, record))
        number += 1


def workers_name(sweep_id: str, number: int) -> str:
    """The name of the jobs of a sweep's workers, one for each launch of workers."""
    return f"{task_name(re.sub(r'[^a-z0-9]+$', '', sweep_id))}-workers" + (f"-{number}" if number > 1 else "")


def note_workers_started(store: Store, launch: WorkersLaunch, started: WorkersStarted) -> WorkersLaunch:
    """Record what a launch has become."""
    store.create(_key(launch.sweep_id, launch.number, "started"), encoded(started))
    return WorkersLaunch(
        sweep_id=launch.sweep_id, number=launch.number, record=launch.record, started=started, ended=launch.ended
    )


def note_workers_ended(store: Store, launch: WorkersLaunch, *, status: str, reason: str | None = None) -> None:
    """Record that nothing of a launch is left. An earlier such record stands."""
    ended = WorkersEnded(status=status, reason=reason, ended_at=utc_now())
    store.create(_key(launch.sweep_id, launch.number, "ended"), encoded(ended))


def worker_launches(store: Store, sweep_id: str) -> list[WorkersLaunch]:
    """All launches of a sweep's workers, the first one first.

    Raises:
        DamagedRecord: a record cannot be trusted.
    """
    launches = []
    for number, kinds in sorted(numbered_records(store, _prefix(sweep_id)).items()):
        record = find_record(store, _key(sweep_id, number), WorkersRecord)
        if record is None:
            continue
        started = find_record(store, _key(sweep_id, number, "started"), WorkersStarted) if "started" in kinds else None
        ended = find_record(store, _key(sweep_id, number, "ended"), WorkersEnded) if "ended" in kinds else None
        launches.append(WorkersLaunch(sweep_id=sweep_id, number=number, record=record, started=started, ended=ended))
    return launches


def needed_worker_environment(store: Store, sweep_id: str) -> list[str]:
    """Return the names of the variables that a sweep's workers were given."""
    names = {name for launch in worker_launches(store, sweep_id) for name in launch.record.get("environment", ())}
    return sorted(names)


def _prefix(sweep_id: str) -> str:
    return sweep_key(sweep_id, "launches/")


def _key(sweep_id: str, number: int, kind: str = "") -> str:
    return f"{_prefix(sweep_id)}{number:04d}{'.' + kind if kind else ''}.json"
