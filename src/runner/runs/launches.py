"""Records in the store of each time that a run was handed to SkyPilot: by name before, its job after, and an end.

A run that came back from there, to go on on a machine of one's own, has a record of that too. The name is written
before SkyPilot is asked, so that whoever wants to cancel the run finds the job, even if who asked has died.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.paths import engine_cache
from runner.runs.layout import SECRET_NAMES, run_key
from runner.runs.records import run_document, utc_now
from runner.storage.store import NotFound, Store

PLACEMENT_FIELDS = ("infra", "accelerators", "resources", "num_nodes", "image")
"""What of a run's record says where it runs: each launch may say otherwise."""

_RECORD = re.compile(r"(?P<number>\d{4,})(?:\.(?P<kind>[a-z]+))?\.json")


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One time that a run was handed to SkyPilot."""

    run_id: str
    """Whose it is."""
    number: int
    """Launches are counted from 1."""
    record: Mapping[str, Any]
    """``name``, ``cluster``, and the machines that were asked for."""
    job: Mapping[str, Any] | None = None
    """``job_id``; None as long as SkyPilot has not answered."""
    ended: Mapping[str, Any] | None = None
    """``status`` and ``reason``, once SkyPilot is known to be done with it."""

    @property
    def is_skypilots(self) -> bool:
        """Whether SkyPilot has it; else the run came back to a machine of one's own."""
        return bool(self.record.get("engine", "skypilot") == "skypilot")

    @property
    def handle(self) -> dict[str, Any]:
        """What SkyPilot knows the job by."""
        return {
            "name": self.record["name"],
            "job_id": (self.job or {}).get("job_id"),
            "cluster": self.record.get("cluster"),
        }


def task_name(run_id: str) -> str:
    """The name of a run's task: SkyPilot's begin with a letter and end in a letter or digit."""
    name = run_id if run_id[0].isalpha() else f"run-{run_id}"
    return re.sub(r"[^a-z0-9]+$", "", name)


def note_launch(store: Store, run_id: str, record: Mapping[str, Any]) -> Launch:
    """Write down that a run is about to be handed to SkyPilot; its job's name is made here.

    Args:
        store: where the run lives.
        run_id: the run.
        record: `cluster`, the machines, who asks.
    """
    number = max(_kinds(store, run_id), default=0) + 1
    while True:
        name = task_name(run_id) + (f"-{number}" if number > 1 else "")
        full = {**record, "name": name, "number": number}
        if store.create(_key(run_id, number), json.dumps(full, indent=2).encode()):
            return Launch(run_id=run_id, number=number, record=full)
        number += 1


def note_job(store: Store, launch: Launch, job: Mapping[str, Any]) -> None:
    """Write down which job a launch has become."""
    store.create(_key(launch.run_id, launch.number, "job"), json.dumps(dict(job), indent=2).encode())


def note_ended(store: Store, launch: Launch, *, status: str, reason: str | None) -> None:
    """Write down that SkyPilot is done with a launch. What was written before stands."""
    record = {"status": status, "reason": reason}
    store.create(_key(launch.run_id, launch.number, "ended"), json.dumps(record, indent=2).encode())


def newest_launch(store: Store, run_id: str) -> Launch | None:
    """The last time that the run was handed to SkyPilot; None if it never was, or was so by hand."""
    kinds = _kinds(store, run_id)
    if not kinds:
        return None
    number = max(kinds)

    def read(kind: str) -> dict[str, Any] | None:
        if kind not in kinds[number]:
            return None
        try:
            found: dict[str, Any] = json.loads(store.get(_key(run_id, number, kind)))
        except NotFound:
            return None
        return found

    record = read("")
    if record is None:
        return None
    return Launch(run_id=run_id, number=number, record=record, job=read("job"), ended=read("ended"))


def with_current_placement(document: Mapping[str, Any], launch: Launch | None) -> dict[str, Any]:
    """A run's ``run.json``, which says where it was launched to first, with where its newest launch put it.

    Args:
        document: ``run.json``.
        launch: the newest, if there was one after the run was made.
    """
    moved = {key: launch.record[key] for key in PLACEMENT_FIELDS if key in launch.record} if launch else {}
    return {**document, **moved}


def cached_job_status(store_url: str, run_id: str) -> Mapping[str, Any] | None:
    """What SkyPilot last said of a run (`launch`, `status`, `reason`), as this machine remembers it; None: nothing."""
    try:
        news: dict[str, Any] = json.loads(engine_cache(store_url, run_id).read_bytes())
    except (OSError, ValueError):
        return None
    return news


def _kinds(store: Store, run_id: str) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for entry in store.objects(run_key(run_id, "launches/")):
        match = _RECORD.fullmatch(entry.key.rpartition("/")[2])
        if match is not None:
            found.setdefault(int(match["number"]), set()).add(match["kind"] or "")
    return found


def _key(run_id: str, number: int, kind: str = "") -> str:
    return run_key(run_id, f"launches/{number:04d}{'.' + kind if kind else ''}.json")


def run_placement(store: Store, run_id: str) -> dict[str, Any]:
    """A run's ``run.json``, with the machines of its newest launch.

    Raises:
        NotFound: there is no such run.
    """
    return with_current_placement(run_document(store, run_id), newest_launch(store, run_id))


def launch_record(
    place: Mapping[str, Any], *, engine: str, cluster: str | None, environment: Sequence[str]
) -> dict[str, Any]:
    """What is written down of a launch, by whom and to where.

    Args:
        place: a record with the machines, as ``run.json`` has them.
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
