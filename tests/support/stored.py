"""Runs in a store as attempts leave them, written without any."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from runner.control.launching.submit import submit
from runner.runs.layout import CheckpointName, attempt_key, checkpoint_prefix, chunk_key, run_key
from runner.runs.records import encoded
from runner.runs.submission.run_json import run_json
from runner.storage.commit import commit
from runner.storage.store import Store

TOKEN = "0001-aaaa"


def submitted(store: Store, run_id: str, **recipe: Any) -> str:
    """A run that waits."""
    mapping = {"name": "small", "training": {"max_steps": 10}, "data": {"train": [], "eval": []}, **recipe}
    document = run_json(
        run_id=run_id,
        recipe=mapping,
        settings={},
        recipe_digest=run_id,
        git_revision=None,
        created_at="2026-01-01T00:00:00+00:00",
    )
    assert submit(store, document, {})
    return run_id


def ended(store: Store, run_id: str, state: str = "succeeded", **result: Any) -> str:
    """The same run at its end."""
    fields = {"state": state, "reason": None, "attempts": 1, "step": 10, "max_steps": 10, "artifacts": {}}
    store.create(run_key(run_id, "result.json"), encoded({**fields, "ended_at": "2026-01-01T01:00:00+00:00", **result}))
    return run_id


def attempted(store: Store, run_id: str, token: str = TOKEN, restored: str | None = None) -> None:
    """An attempt that began."""
    number = int(token.partition("-")[0])
    store.create(attempt_key(run_id, number), encoded({"token": token, "number": number, "pid": 1}))
    store.create(attempt_key(run_id, number, "restored"), encoded({"token": token, "checkpoint": restored}))


def put_folder(
    store: Store, prefix: str, files: Mapping[str, bytes], metadata: Mapping[str, Any] | None = None
) -> None:
    """A committed folder."""
    with TemporaryDirectory() as name:
        paths = {}
        for file, data in files.items():
            paths[file] = Path(name, file.replace("/", "_"))
            paths[file].write_bytes(data)
        commit(store, prefix, paths, metadata or {})


def checkpoint(
    store: Store, run_id: str, step: int, *, token: str = TOKEN, best: int | None = None, value: float | None = None
) -> str:
    """A committed checkpoint; its name."""
    name = CheckpointName("sft", step, token)
    told = None if best is None else {"step": best, "metric": "eval_loss", "value": value}
    files = {"model.safetensors": b"w" * 1000, "config.json": b"{}", "runner_state.json": b"{}"}
    put_folder(store, checkpoint_prefix(run_id, name), files, {"best": told})
    return str(name)


def artifact(store: Store, run_id: str, name: str = "model", *, token: str = TOKEN, size: int = 1000) -> str:
    """A committed artifact; its key in the run."""
    key = f"artifacts/{name}/{token}/"
    put_folder(store, run_key(run_id, key), {"model.safetensors": b"w" * size, "config.json": b"{}"}, {"name": name})
    return key


def running(
    store: Store, run_id: str, *, losses: Sequence[float] = (), gpus: Sequence[Any] = (), **heartbeat: Any
) -> str:
    """A run whose first attempt has just given a sign of life on another machine."""
    submitted(store, run_id)
    attempted(store, run_id)
    beat = {"token": TOKEN, "phase": "training", "step": len(losses), "max_steps": 10, **heartbeat}
    store.put(attempt_key(run_id, 1, "heartbeat"), encoded(beat))
    records = [{"stage": "sft", "step": step, "kind": "train", "loss": loss} for step, loss in enumerate(losses, 1)]
    store.create(chunk_key(run_id, "metrics", TOKEN, 1), _lines(records))
    sample = {"time": 1.0, "node": 0, "cpu_percent": 50.0, "memory_gib": 1.0, "memory_percent": 2.0, "gpus": list(gpus)}
    store.create(chunk_key(run_id, "system", TOKEN, 1), _lines([sample]))
    return run_id


def _lines(records: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)
