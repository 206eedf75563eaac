"""One question to SkyPilot: JSON on standard input, JSON on standard output, SkyPilot's own talk on standard error.

``python <this folder> < question.json`` runs in whichever Python has SkyPilot: it asks for other versions of packages
than ours does, and is usually installed apart (``uv tool install skypilot``). So nothing here but SkyPilot and the
standard library is imported, and it runs on each Python that SkyPilot supports.

Questions are ``{"ask": NAME, ...}``, one of the functions of `QUESTIONS` with its arguments. The answer is
``{"answer": ...}``, or ``{"error": {"type": ..., "message": ...}}`` with SkyPilot's own words.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]


def launch(
    task: Json,
    secrets: dict[str, str],
    cluster: str | None,
    default_autostop: bool = False,
    num_jobs: int | None = None,
) -> Json:
    """Hand a task to SkyPilot, as a managed job or, with the name of a cluster, to that one.

    `num_jobs` managed jobs with machines of their own get the same task and name (`job_ids`).

    The machines are chosen first, so that what SkyPilot cannot find (a cloud that is not set up, a GPU that no cloud
    has there, a wrong region) is an error now.

    With `default_autostop`, the task's autostop is nobody's wish: a cluster that is there already keeps its own, and is
    never removed by one of ours.
    """
    import sky

    kept = default_autostop and cluster is not None and _keeps_its_autostop(task, cluster)
    if kept:
        task = {**task, "resources": {k: v for k, v in task["resources"].items() if k != "autostop"}}
    built = sky.Task.from_yaml_config(task, secrets_overrides=list(secrets.items()))
    with sky.Dag() as dag:
        dag.add(built)
    dag.name = built.name
    if cluster is None:
        sky.stream_and_get(sky.optimize(dag))
        several = {} if num_jobs is None or num_jobs == 1 else {"num_jobs": num_jobs}
        job_ids, _ = sky.stream_and_get(sky.jobs.launch(dag, name=built.name, **several))
        return {"job_id": (job_ids or [None])[0], "job_ids": list(job_ids or [])}
    job_id, _ = sky.stream_and_get(sky.launch(dag, cluster_name=cluster))
    return {"job_id": job_id, "autostop_kept": kept}


def _keeps_its_autostop(task: Json, cluster: str) -> bool:
    """Whether the cluster is there and has an autostop, or would be removed by the task's."""
    import sky

    try:
        records: list[Any] = list(sky.get(sky.status([cluster])))
    except Exception:  # noqa: BLE001  the launch itself says what is wrong
        return False
    if not records:
        return False
    minutes = _of(records[0], "autostop")
    autostop = task["resources"].get("autostop")
    return (isinstance(minutes, int) and minutes >= 0) or (isinstance(autostop, dict) and bool(autostop.get("down")))


def validate(task: Json, secrets: dict[str, str]) -> Json:
    """Whether SkyPilot takes a task; no server is asked."""
    import sky

    sky.Task.from_yaml_config(task, secrets_overrides=list(secrets.items()))
    return {}


def job(name: str, job_id: int | None, cluster: str | None) -> Json:
    """Where a job stands: `status` in SkyPilot's word, `reason` if it has one, `ended`; nothing: no such job."""
    if cluster is not None:
        return _cluster_job(cluster, job_id)
    records = _managed_jobs(name, job_id)
    return _described(max(records, key=lambda record: _of(record, "job_id"))) if records else {}


def _managed_jobs(name: str, job_id: int | None) -> list[Any]:
    import sky

    fields = ["job_id", "job_name", "task_name", "status", "failure_reason", "details", "recovery_count", "infra"]
    found = sky.get(
        sky.jobs.queue_v2(
            refresh=False,
            job_ids=None if job_id is None else [job_id],
            name_match=name if job_id is None else None,
            fields=fields,
        )
    )
    records: list[Any] = list(found[0] if isinstance(found, tuple) else found)
    return [record for record in records if name in (_of(record, "job_name"), _of(record, "task_name"))]


def _described(record: Any) -> Json:
    status = _of(record, "status")
    reason = _of(record, "failure_reason") or _of(record, "details")
    return {
        "job_id": _of(record, "job_id"),
        "status": str(getattr(status, "value", status)),
        "ended": bool(status.is_terminal()),
        "reason": None if reason is None else str(reason),
        "recoveries": _of(record, "recovery_count"),
    }


def jobs(handles: list[Json]) -> Json:
    """The same of several jobs, in their order."""
    return {"jobs": [job(**handle) for handle in handles]}


def _cluster_job(cluster: str, job_id: int | None) -> Json:
    import sky

    try:
        queue = sky.get(sky.queue(cluster))
    except (sky.exceptions.ClusterNotUpError, sky.exceptions.ClusterDoesNotExist, ValueError) as error:
        return {"job_id": job_id, "status": "CLUSTER_GONE", "ended": True, "reason": str(error)}
    for record in queue:
        if _of(record, "job_id") == job_id:
            status = _of(record, "status")
            word = str(getattr(status, "value", status))
            return {"job_id": job_id, "status": word, "ended": bool(status.is_terminal()), "reason": None}
    return {}


def cancel(name: str, job_id: int | None, cluster: str | None) -> Json:
    """Cancel a job; a job that has ended or that there is none of is as good as cancelled."""
    import sky

    known = job(name, job_id, cluster)
    if not known or known["ended"]:
        return known
    if cluster is not None:
        sky.get(sky.cancel(cluster, job_ids=[known["job_id"]]))
    else:
        sky.get(sky.jobs.cancel(job_ids=[known["job_id"]]))
    return known


def named(name: str) -> Json:
    """Where all managed jobs of one name stand, as `job` says it, by number."""
    records = sorted(_managed_jobs(name, None), key=lambda record: _of(record, "job_id"))
    return {"jobs": [_described(record) for record in records]}


def cancel_named(name: str) -> Json:
    """Cancel all managed jobs of one name, and tell where they stand now.

    By their numbers: SkyPilot refuses the name of several.
    """
    import sky

    active = [job["job_id"] for job in named(name)["jobs"] if not job["ended"]]
    if active:
        sky.get(sky.jobs.cancel(job_ids=active))
    return named(name)


QUESTIONS: dict[str, Callable[..., Json]] = {
    "launch": launch,
    "validate": validate,
    "job": job,
    "jobs": jobs,
    "cancel": cancel,
    "named": named,
    "cancel_named": cancel_named,
}


def _of(record: Any, name: str) -> Any:
    """A field of a record, which is a mapping or an object, by the version of SkyPilot."""
    return record.get(name) if isinstance(record, dict) else getattr(record, name, None)


def main() -> int:
    """Answer one question."""
    # SkyPilot prints to standard output as it goes; the answer is the only thing there.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    question = json.load(sys.stdin)
    name = question.pop("ask")
    try:
        reply: Json = {"answer": QUESTIONS[name](**question)}
    except (Exception, SystemExit) as error:  # noqa: BLE001  whatever SkyPilot raises is the answer
        reply = {"error": {"type": type(error).__name__, "message": str(error)}}
    json.dump(reply, out, default=str)
    out.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
