"""Measure a run or one of its checkpoints again, in a process of the training side, and record it in the store."""

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from runner import __version__
from runner.backends.local.training_side import require_training_side
from runner.errors import UserError
from runner.exit_codes import MISTAKE
from runner.paths import cache_folder
from runner.recipe.loading.entries import evaluation_entry
from runner.runs.attempts import newest_hardware
from runner.runs.checkpoints.choice import choose_checkpoint, no_evaluation_data, no_model
from runner.runs.layout import CheckpointName, run_key
from runner.runs.records import encoded, run_document, run_recipe, run_result, utc_now
from runner.storage.store import Store

EVALUATION = "runner.train.run_eval"
"""The module that measures."""

_QUIET = {"TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
_TAIL_LINES = 20
_VERSIONS = ("torch", "transformers", "trl", "peft")


class EvaluationFailed(Exception):
    """The evaluation ended without a result; the message has the last lines that it printed."""


def evaluate_run(
    store: Store,
    run_id: str,
    *,
    data: Sequence[str],
    prompts: Sequence[str],
    cwd: Path,
    say: Callable[[str], None],
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Measure a run's model before and after training, on this machine, and record the result in the store.

    Args:
        store: where the run lives.
        run_id: the run.
        data: what to evaluate on instead of the recipe's evaluation data: paths, hub ids, or entries in YAML.
        prompts: what to complete instead of the recipe's prompts.
        cwd: where relative paths begin.
        say: receives what is being done.
        checkpoint: which checkpoint to measure, as `choose_checkpoint` reads it; None for the run's model.

    Returns:
        The record, ``evaluations/<id>.json`` in the run.

    Raises:
        UserError: this machine cannot train, the run has no model, or the data cannot be used.
        EvaluationFailed: the evaluation failed for another reason than a mistake of the user's.
    """
    result = run_result(store, run_id)
    chosen = None if checkpoint is None else choose_checkpoint(store, run_id, checkpoint)
    if chosen is None and (result is None or "model" not in (result.get("artifacts") or {})):
        raise no_model(store, run_id)
    recipe = run_recipe(run_document(store, run_id))
    if chosen is not None:
        stage = next(stage for stage in recipe.in_order if stage.stage_name == chosen.stage)
    else:
        stages = result.get("stages") if result is not None else None
        stage = recipe.in_order[len(stages) - 1] if stages else recipe.in_order[-1]
    if not data and not stage.data.has_evaluation:
        raise no_evaluation_data(run_id)
    hardware = newest_hardware(store, run_id, stage.stage_name) if data else None
    layout = None if hardware is None else hardware.get("layout")
    notes: list[str] = []
    require_training_side("runner eval")
    entries = [evaluation_entry(written, stage, cwd=cwd, layout=layout, notes=notes) for written in data]
    for note in notes:
        say(note)
    measured = _measure(store, run_id, entries, prompts, say, checkpoint=chosen)
    now = datetime.now(UTC)
    nonce = "".join(secrets.choice("0123456789abcdef") for _ in range(4))
    record: dict[str, Any] = {
        "version": 1,
        "id": f"{now:%Y%m%d-%H%M%S}-{nonce}",
        "run_id": run_id,
        "created_at": utc_now(),
        "host": socket.gethostname(),
        "stage": stage.stage,
        "data": entries or None,
        **({} if chosen is None else {"checkpoint": str(chosen)}),
        **measured,
        "versions": {"runner": __version__, **{name: _version(name) for name in _VERSIONS}},
    }
    store.create(run_key(run_id, f"evaluations/{record['id']}.json"), encoded(record))
    return record


def _measure(
    store: Store,
    run_id: str,
    entries: Sequence[Mapping[str, Any]],
    prompts: Sequence[str],
    say: Callable[[str], None],
    *,
    checkpoint: CheckpointName | None,
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="runner-eval-") as work, tempfile.TemporaryFile() as log:
        # -P: a `datasets.py` in the working directory must not be taken for the library.
        command = [sys.executable, "-P", "-m", EVALUATION, "--store", store.url, "--run", run_id]
        command += ["--work-dir", work, "--cache-dir", str(cache_folder()), "--parent", str(os.getpid())]
        command += ["--data", json.dumps(list(entries))] if entries else []
        command += ["--prompts", json.dumps(list(prompts))] if prompts else []
        command += ["--checkpoint", str(checkpoint)] if checkpoint is not None else []
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env={**_QUIET, **os.environ}
        )
        assert process.stdout is not None
        try:
            with process.stdout as lines:
                for line in lines:
                    event = json.loads(line)
                    kind = event.pop("kind")
                    if kind == "measured":
                        measured: dict[str, Any] = event
                        return measured
                    if kind == "error" and process.wait() != MISTAKE:
                        raise EvaluationFailed(str(UserError(**event)))
                    if kind == "error":
                        raise UserError(event["what"], where=event["where"], remedy=event["remedy"])
                    if event.get("phase"):
                        say(event["phase"] + (f" ({event['message']})" if event.get("message") else ""))
            code = process.wait()
            log.seek(0)
            tail = log.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]
            raise EvaluationFailed(
                f"the evaluation ended with exit code {code}; its last lines:\n"
                + "\n".join(f"  | {line}" for line in tail)
            )
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
