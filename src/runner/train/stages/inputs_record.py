"""Record which model and data a stage is trained with, and warn if an earlier attempt was trained with others."""

import logging
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants
from huggingface_hub.file_download import repo_folder_name

from runner.recipe.recipe import DataSource, Recipe
from runner.runs.measured.machine import read_inputs, write_inputs
from runner.runs.record_types.measured import DatasetInputs, InputsRecord
from runner.train.builtin.catalog import is_builtin
from runner.train.stages.context import StageContext
from runner.train.stages.lengths import lengths_record

logger = logging.getLogger(__name__)

_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_SECONDS = 10.0
_INPUTS = "inputs/"


def record_inputs(context: StageContext, fingerprint: Mapping[str, str], rows: int, prepared: Any) -> threading.Thread:
    """Record the stage's inputs from a thread, since the hub is asked; return that. No training waits for it.

    Args:
        context: the stage's.
        fingerprint: from `runner.train.checkpointing.fingerprint`.
        rows: how many rows are trained on.
        prepared: the trainer's dataset of them, as TRL has made it.
    """

    def write() -> None:
        store, claim = context.attempt.store, context.attempt.claim
        try:
            record = inputs_record(context.recipe, fingerprint, rows)
            record["token"] = claim.token
            record["lengths"] = lengths_record(prepared)
            context.attempt.retry(lambda: write_inputs(store, claim.run_id, claim.number, context.stage, record))
            earlier = context.attempt.retry(lambda: read_inputs(store, claim.run_id, context.stage))
        except Exception as error:  # noqa: BLE001 (a record for people: no training ends because of it)
            logger.debug("no record of the stage's inputs: %s", error)
            return
        first = min((number for number in earlier if number < claim.number), default=None)
        if first is not None and (differ := differences(earlier[first], record)):
            logger.warning(f"since attempt {first} of this run there have changed: {'; '.join(differ)}")

    thread = threading.Thread(target=write, name="inputs", daemon=True)
    thread.start()
    return thread


def inputs_record(recipe: Recipe, fingerprint: Mapping[str, str], rows: int) -> InputsRecord:
    """Return the record of a stage's inputs. The hub is asked for the commits that its names stand for now."""
    model = str(recipe.model["model_name_or_path"])
    is_local = is_builtin(model) or Path(model).exists()
    revision = recipe.model.get("model_revision")
    sections = {"train": recipe.data.train, "eval": recipe.data.eval}
    return {
        "model": model,
        "model_commit": None if is_local else hub_commit(model, "model", None if revision is None else str(revision)),
        "tokenizer": fingerprint["vocabulary"],
        "rows": fingerprint["rows"],
        "row_count": rows,
        "datasets": [
            _dataset(source, f"data.{section}.{index}")
            for section, sources in sections.items()
            for index, source in enumerate(sources)
        ],
    }


def differences(before: InputsRecord, now: InputsRecord) -> list[str]:
    """Return what has changed between two attempts at a stage, in words. What either does not know has not."""
    words: list[str] = []

    def compare(what: str, old: str | None, new: str | None) -> None:
        if old is not None and new is not None and old != new:
            words.append(f"{what} ({old[:12]}, now {new[:12]})")

    compare(f"the hub's commit of {now['model']}", before["model_commit"], now["model_commit"])
    compare("the tokenizer", before["tokenizer"], now["tokenizer"])
    compare("the training rows", before["rows"], now["rows"])
    entries = {entry["entry"]: entry for entry in before["datasets"]}
    for entry in now["datasets"]:
        if old := entries.get(entry["entry"]):
            compare(f"the hub's commit of {entry['entry']}", old["commit"], entry["commit"])
            compare(f"the file of {entry['entry']}", old.get("fingerprint"), entry.get("fingerprint"))
    return words


def hub_commit(name: str, kind: str, revision: str | None) -> str | None:
    """Return the commit that a revision of a hub's repository stands for; None if neither hub nor cache says.

    Args:
        name: the repository.
        kind: ``model`` or ``dataset``.
        revision: a branch, a tag or a commit; None: the main branch.
    """
    if revision is not None and _COMMIT.fullmatch(revision):
        return revision
    try:
        return HfApi().repo_info(name, repo_type=kind, revision=revision, timeout=_HUB_SECONDS).sha
    except Exception:  # noqa: BLE001 (offline, or whatever a mirror of the hub answers)
        folder = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=name, repo_type=kind))
        try:
            commit = (folder / "refs" / (revision or "main")).read_text().strip()
        except OSError:
            return None
        return commit if _COMMIT.fullmatch(commit) else None


def _dataset(source: DataSource, entry: str) -> DatasetInputs:
    if source.path.startswith(_INPUTS):  # its name in the store says what is in it
        return {"entry": entry, "commit": None, "fingerprint": source.path.split("/")[1]}
    is_local = is_builtin(source.path) or Path(source.path).is_absolute()
    commit = None if is_local else hub_commit(source.path, "dataset", source.revision)
    return {"entry": entry, "commit": commit, "fingerprint": None}
