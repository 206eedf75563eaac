"""Continue a run elsewhere than where it was: on other machines of SkyPilot's, or on this one."""

import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from runner.backends.environment import SECRET_NAMES
from runner.backends.skypilot import client
from runner.control.launch import refuse_what_cannot_go_on
from runner.errors import UserError
from runner.launch.end import utc_now
from runner.runs.launches import PLACE, Launch, newest_launch, note_ended, note_launch, placed
from runner.runs.status import run_document, run_status
from runner.storage.store import Store


def where_it_was(store: Store, run_id: str) -> dict[str, Any]:
    """The record of a run that was interrupted, with the machines of its last launch.

    Raises:
        UserError: it has ended or runs, or SkyPilot is still at it.
    """
    document = run_document(store, run_id)
    refuse_what_cannot_go_on(run_status(store, run_id, document=document))
    launch = newest_launch(store, run_id)
    if launch is not None and launch.is_skypilots and launch.ended is None:
        _refuse_if_at_it(store, launch)
    return placed(document, launch)


def moved_there(store: Store, run_id: str, place: Mapping[str, Any]) -> dict[str, Any]:
    """The same with other machines of SkyPilot's, which writes them down when it is given the run.

    Args:
        store: where the run lives.
        run_id: the run.
        place: the machines, as ``run.json`` says them.

    Raises:
        UserError: it has ended or runs, or SkyPilot is still at it.
    """
    return {**where_it_was(store, run_id), **place}


def move_here(store: Store, run_id: str, *, infra: str, image: str | None, environment: Sequence[str]) -> None:
    """Write down that a run goes on on this machine, unless it was there before.

    Args:
        store: where the run lives.
        run_id: the run.
        infra: ``local`` or ``docker``.
        image: by digest or id, for ``docker``.
        environment: names of the variables that the run is given.

    Raises:
        UserError: it has ended or runs, or SkyPilot is still at it.
    """
    before = where_it_was(store, run_id)
    if (before["infra"], before["image"]) == (infra, image):
        return
    place = {"infra": infra, "image": image, "accelerators": None, "resources": None, "num_nodes": 1}
    note_launch(store, run_id, launch_record(place, engine=infra, cluster=None, environment=environment))


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
    return {
        "engine": engine,
        "cluster": cluster,
        "environment": sorted(set(environment) - {SECRET_NAMES}),
        "requested_at": utc_now(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        **{key: place[key] for key in PLACE},
    }


def _refuse_if_at_it(store: Store, launch: Launch) -> None:
    try:
        known = client.ask("job", **launch.handle)
    except client.SkyPilotSays as error:
        raise error.for_people() from error
    if not known:
        note_ended(store, launch, status="UNKNOWN", reason="SkyPilot knows of no such job")
    elif known["ended"]:
        note_ended(store, launch, status=known["status"], reason=known["reason"])
    else:
        remedy = (
            f"`runner wait {launch.run_id}` waits for it; `runner cancel {launch.run_id}` ends it for good; "
            f"`sky jobs cancel -n {launch.record['name']}` frees it to go on elsewhere"
        )
        if known["status"] == "CANCELLING":
            remedy = "try again in a minute"
        raise UserError(f"SkyPilot is at it already: {known['status']}", where=launch.run_id, remedy=remedy)
