"""Records of each time that a run was handed to SkyPilot: its name before, its job after, and how it ended there.

A run that came back from SkyPilot, to go on on a machine of one's own, has a record of that too. The name is written
before SkyPilot is asked, so that `runner cancel` finds the job even if the process that asked has died.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from runner.paths import engine_cache
from runner.process import boot_id
from runner.runs.layout import SECRET_NAMES, SUBMISSION, run_key
from runner.runs.record_types.run import LaunchEnded, LaunchJob, LaunchRecord, RunDocument, Submission
from runner.runs.records import encoded, find_record, numbered_records, run_document, utc_now
from runner.storage.store import Store

PLACEMENT_FIELDS = ("infra", "accelerators", "resources", "num_nodes", "image")
"""The fields of a run's record that say where it runs (`Placement`): each launch may say otherwise."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One time that a run was handed to SkyPilot."""

    run_id: str
    """The run."""
    number: int
    """Launches are counted from 1."""
    record: LaunchRecord
    """``launches/<n>.json``."""
    job: LaunchJob | None = None
    """``launches/<n>.job.json``; None as long as SkyPilot has not answered."""
    ended: LaunchEnded | None = None
    """``launches/<n>.ended.json``; None as long as SkyPilot may still work on it."""

    @property
    def is_skypilots(self) -> bool:
        """Whether SkyPilot has it; else the run came back to a machine of one's own."""
        return self.record.get("engine", "skypilot") == "skypilot"

    @property
    def handle(self) -> dict[str, Any]:
        """What SkyPilot knows the job by."""
        return {
            "name": self.record["name"],
            "job_id": None if self.job is None else self.job["job_id"],
            "cluster": self.record.get("cluster"),
        }


def task_name(run_id: str) -> str:
    """The name of a run's task: SkyPilot's begin with a letter and end in a letter or digit."""
    name = run_id if run_id[0].isalpha() else f"run-{run_id}"
    return re.sub(r"[^a-z0-9]+$", "", name)


def note_launch(store: Store, run_id: str, record: Mapping[str, Any]) -> Launch:
    """Record that a run is about to be handed to SkyPilot; its job's name is made here.

    Args:
        store: where the run lives.
        run_id: the run.
        record: the fields of `LaunchRecord` except ``name`` and ``number``, which are added.
    """
    number = max(numbered_records(store, _prefix(run_id)), default=0) + 1
    while True:
        name = task_name(run_id) + (f"-{number}" if number > 1 else "")
        full = cast(LaunchRecord, {**record, "name": name, "number": number})
        if store.create(_key(run_id, number), encoded(full)):
            return Launch(run_id=run_id, number=number, record=full)
        number += 1


def note_job(store: Store, launch: Launch, job: LaunchJob) -> None:
    """Record which job a launch has become."""
    store.create(_key(launch.run_id, launch.number, "job"), encoded(job))


def note_ended(store: Store, launch: Launch, *, status: str, reason: str | None) -> None:
    """Record that SkyPilot is done with a launch. An earlier such record stands."""
    store.create(_key(launch.run_id, launch.number, "ended"), encoded(LaunchEnded(status=status, reason=reason)))


def newest_launch(store: Store, run_id: str) -> Launch | None:
    """The last time that the run was handed to SkyPilot; None if it never was, or only as a rendered task.

    Raises:
        DamagedRecord: a record of it cannot be trusted.
    """
    numbers = numbered_records(store, _prefix(run_id))
    if not numbers:
        return None
    number = max(numbers)
    record = find_record(store, _key(run_id, number), LaunchRecord)
    if record is None:
        return None
    kinds = numbers[number]
    return Launch(
        run_id=run_id,
        number=number,
        record=record,
        job=find_record(store, _key(run_id, number, "job"), LaunchJob) if "job" in kinds else None,
        ended=find_record(store, _key(run_id, number, "ended"), LaunchEnded) if "ended" in kinds else None,
    )


def with_current_placement(document: RunDocument, launch: Launch | None) -> RunDocument:
    """A run's ``run.json``, which says where it was launched to first, with the placement of its newest launch.

    Args:
        document: ``run.json``.
        launch: the newest, if there was one after the run was made.
    """
    if launch is None:
        return document
    moved = {key: value for key, value in launch.record.items() if key in PLACEMENT_FIELDS}
    return cast(RunDocument, {**document, **moved})


def cached_job_status(store_url: str, run_id: str) -> Mapping[str, Any] | None:
    """SkyPilot's last answer on a run (`launch`, `status`, `reason`), as this machine remembers it; None if unknown."""
    try:
        answer = json.loads(engine_cache(store_url, run_id).read_bytes())
    except (OSError, ValueError):
        return None
    return answer if isinstance(answer, dict) else None


def _prefix(run_id: str) -> str:
    return run_key(run_id, "launches/")


def _key(run_id: str, number: int, kind: str = "") -> str:
    return f"{_prefix(run_id)}{number:04d}{'.' + kind if kind else ''}.json"


def run_placement(store: Store, run_id: str) -> RunDocument:
    """A run's ``run.json``, with the machines of its newest launch.

    Raises:
        NotFound: there is no such run.
    """
    return with_current_placement(run_document(store, run_id), newest_launch(store, run_id))


def launch_record(
    place: Mapping[str, Any], *, engine: str, cluster: str | None, environment: Sequence[str]
) -> dict[str, Any]:
    """The record of a launch from this process, without its name and number.

    Args:
        place: holds `PLACEMENT_FIELDS`, as ``run.json`` does.
        engine: ``skypilot``, or an infra of this machine.
        cluster: SkyPilot's, for a run on one.
        environment: names of the variables that the run is given.
    """
    from socket import gethostname  # not above: `runner ps` reads launches and writes none

    return {
        "engine": engine,
        "cluster": cluster,
        "environment": sorted(set(environment) - {SECRET_NAMES}),
        "requested_at": utc_now(),
        "host": gethostname(),
        "pid": os.getpid(),
        **{key: place[key] for key in PLACEMENT_FIELDS if key in place},
    }


def read_submission(store: Store, run_id: str) -> Submission | None:
    """A run's ``submission.json``; None if it was not launched to a machine of one's own.

    Raises:
        DamagedRecord: it cannot be trusted.
    """
    return find_record(store, run_key(run_id, SUBMISSION), Submission)


def write_submission(store: Store, run_id: str, *, pid: int, environment: Sequence[str]) -> None:
    """Record which process supervises the run, and the names (never the values) of the variables it was given.

    A record that exists already stays: it says how the run was launched first.
    """
    from socket import gethostname  # not above: `runner ps` reads launches and writes none

    submission = Submission(
        version=1,
        engine="local",
        host=gethostname(),
        boot_id=boot_id(),
        pid=pid,
        environment=sorted(environment),
        submitted_at=utc_now(),
    )
    store.create(run_key(run_id, SUBMISSION), encoded(submission))


def needed_environment(store: Store, run_id: str) -> list[str]:
    """Return the names of the variables that a run was launched with."""
    submission = read_submission(store, run_id)
    return [] if submission is None else submission.get("environment", [])


def submission_boot_id(store: Store, run_id: str) -> str | None:
    """Return the boot of the machine that a run was launched from; None if unknown."""
    submission = read_submission(store, run_id)
    return None if submission is None else submission.get("boot_id")
