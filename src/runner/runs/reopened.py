"""A failed run that its owner goes on with, and reward files that are replaced on the way.

``result.json`` never changes. A run that failed is reopened by a record of its own, ``reopened/<n>.json``, and ends
again with ``reopened/<n>.result.json``. The result that stands is that of the newest reopening; as long as it has none,
the run has not ended. Only failed runs are reopened: a success and a cancellation are for good. So a reader that finds
no result, or one of a run that did not fail, need not look for reopenings.

A request to end the run counts for one life of it too: ``cancel.json`` until the run is reopened, then
``reopened/<n>.cancel.json``.

An older version does not know these keys. To it the run has failed: it lists it so, and starts no attempt.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from runner.runs.layout import REOPENED, REPLACED, numbered_key, run_key
from runner.runs.record_types.result import Result
from runner.runs.record_types.run import Reopening, Replacement, RunDocument
from runner.runs.records import encoded, find_record, numbered_records, read_record, run_document, utc_now
from runner.storage.manifest import is_relative_name
from runner.storage.store import Store


def reopen_run(store: Store, run_id: str, failed: Result, *, times: int) -> bool:
    """Record that a failed run goes on; from then on it has no result.

    Args:
        store: where the run lives.
        run_id: the run.
        failed: the result that it had.
        times: how often it was reopened before (`times_reopened`).

    Returns:
        False: somebody else has just reopened it.
    """
    record = {
        "number": times + 1,
        "reopened_at": utc_now(),
        **by_whom(),
        "attempts": failed.get("attempts", 0),
        "state": failed["state"],
        "reason": failed.get("reason"),
    }
    return store.create(numbered_key(run_id, REOPENED, times + 1), encoded(record))


def newest_reopening(store: Store, run_id: str, *, times: int) -> Reopening | None:
    """The record of the newest of so many reopenings; None if there was none.

    Raises:
        DamagedRecord: it cannot be trusted.
    """
    return find_record(store, numbered_key(run_id, REOPENED, times), Reopening) if times else None


def replace_reward_file(store: Store, run_id: str, key: str, path: Path, *, first_attempt: int) -> str:
    """Copy a file to the store and record that it takes the place of an input from an attempt on.

    Args:
        store: where the run lives.
        run_id: the run.
        key: the input in the recipe (``inputs/<digest>/<name>``).
        path: the file.
        first_attempt: the number of the first attempt that it counts for.

    Returns:
        The new input's key.

    Raises:
        OSError: the file cannot be read.
    """
    from runner.storage.commit import digest  # not above: listings read these records and need no digests

    name = path.name if is_relative_name(path.name) else "rewards.py"
    new = f"inputs/{digest(path)}/{name}"
    store.upload(run_key(run_id, new), path)
    number = max(numbered_records(store, run_key(run_id, REPLACED)), default=0) + 1
    record = {"replaced_at": utc_now(), **by_whom(), "inputs": {key: new}, "first_attempt": first_attempt}
    while not store.create(numbered_key(run_id, REPLACED, number), encoded({"number": number, **record})):
        number += 1
    return new


def replacements(store: Store, run_id: str) -> list[Replacement]:
    """Which reward files were replaced, the oldest first.

    Raises:
        DamagedRecord: a record cannot be trusted.
    """
    numbers = numbered_records(store, run_key(run_id, REPLACED))
    return [read_record(store, numbered_key(run_id, REPLACED, number), Replacement) for number in numbers]


def with_replaced_inputs(document: RunDocument, replaced: list[Replacement]) -> RunDocument:
    """A run's ``run.json`` with the reward files that count now. Pure."""
    keys = {old: new for record in replaced for old, new in record["inputs"].items()}
    if not keys:
        return document

    def with_rewards(section: Mapping[str, Any]) -> dict[str, Any]:
        training = section.get("training") or {}
        rewards = training.get("reward_funcs")
        if not isinstance(rewards, list):
            return dict(section)
        return {**section, "training": {**training, "reward_funcs": [_replaced(name, keys) for name in rewards]}}

    recipe = with_rewards(document["recipe"])
    if recipe.get("stages"):
        recipe["stages"] = [with_rewards(stage) for stage in recipe["stages"]]
    return cast(RunDocument, {**document, "recipe": recipe})


def current_document(store: Store, run_id: str) -> RunDocument:
    """A run's ``run.json`` with the reward files that count now.

    Raises:
        NotFound: there is no such run.
        DamagedRecord: a record of it cannot be trusted.
    """
    return with_replaced_inputs(run_document(store, run_id), replacements(store, run_id))


def reward_files(document: RunDocument) -> dict[str, set[str]]:
    """The reward files of a run that were uploaded with its recipe: their keys, and the functions that it names."""
    recipe = document["recipe"]
    files: dict[str, set[str]] = {}
    for section in (recipe, *(recipe.get("stages") or ())):
        for name in section.get("training", {}).get("reward_funcs") or ():
            file, _, function = str(name).rpartition(":")
            if file.startswith("inputs/"):
                files.setdefault(file, set()).add(function)
    return files


def _replaced(name: object, keys: Mapping[str, str]) -> object:
    if not isinstance(name, str):
        return name
    file, colon, function = name.rpartition(":")
    return f"{keys.get(file, file)}{colon}{function}"


def by_whom() -> dict[str, Any]:
    """The fields of a record that say who writes it: ``host``, ``pid`` and, if it has a name, ``user``."""
    import getpass  # not above: listings read these records and write none
    from socket import gethostname

    who: dict[str, Any] = {"host": gethostname(), "pid": os.getpid()}
    with suppress(OSError, KeyError):  # no such user in a container
        who["user"] = getpass.getuser()
    return who
