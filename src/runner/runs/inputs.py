"""The local files that a recipe names, which travelled with the run: ``inputs/<digest>/<name>``."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from runner.runs.layout import run_key, sweep_key
from runner.runs.records import run_document
from runner.storage.commit import digest
from runner.storage.manifest import Damaged
from runner.storage.names.placing import place
from runner.storage.retry import Caller, directly
from runner.storage.store import NotFound, Store

_INPUT = re.compile(r"inputs/(?P<digest>[0-9a-f]{64})/[^/]+")


def input_keys(recipe: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys of the inputs that a resolved recipe reads; one may come more than once."""
    for stage in (recipe, *(recipe.get("stages") or ())):
        for source in [*stage["data"]["train"], *stage["data"]["eval"]]:
            if source["path"].startswith("inputs/"):
                yield source["path"]
        for name in stage["training"].get("reward_funcs", ()):
            if isinstance(name, str) and name.startswith("inputs/"):
                yield name.rpartition(":")[0]


def fetch_input(store: Store, run_id: str, key: str, folder: Path, *, call: Caller = directly) -> Path:
    """Return the local copy of an input, which holds the very bytes that the run was launched with.

    They are compared with the digest in the key each time, before anybody reads, imports or runs them. An input of a
    sweep's trial that is not below the run is the sweep's.

    Args:
        store: where the run lives.
        run_id: the run.
        key: the input's key in the run.
        folder: a local folder; what it holds already is used if it is the same.
        call: makes each request.

    Raises:
        Damaged: it is missing, or was altered in the store after the launch; or `key` is not an input's.
        UserError: a link in `folder` leads out of it.
    """
    return _fetch(store, key, folder, lambda: _places(store, run_id, key, call), call)


def fetch_sweep_input(store: Store, sweep_id: str, key: str, folder: Path, *, call: Caller = directly) -> Path:
    """Do what `fetch_input` does for an input of a sweep, which all of its trials share.

    Raises:
        Damaged: as in `fetch_input`.
        UserError: a link in `folder` leads out of it.
    """
    return _fetch(store, key, folder, lambda: iter([sweep_key(sweep_id, key)]), call)


def _places(store: Store, run_id: str, key: str, call: Caller) -> Iterator[str]:
    """Yield the keys that an input may have: the run's own, then, for a sweep's trial, the sweep's."""
    yield run_key(run_id, key)
    with suppress(NotFound):
        sweep = call(lambda: run_document(store, run_id)).get("sweep")
        if sweep is not None:
            yield sweep_key(sweep["sweep_id"], key)


def _fetch(store: Store, key: str, folder: Path, places: Callable[[], Iterator[str]], call: Caller) -> Path:
    match = _INPUT.fullmatch(key)
    if match is None:
        raise Damaged(ascii(key), "not the key of a file that travelled with a run")
    path = place(folder, key)
    if path.is_file() and digest(path) == match["digest"]:
        return path
    missing = key
    for whole_key in places():
        try:
            call(partial(store.download, whole_key, path))
        except NotFound:
            missing = whole_key
            continue
        if digest(path) == match["digest"]:
            return path
        path.unlink()
        raise Damaged(whole_key, "it was altered after the launch, and is not used: its digest is not that of its name")
    raise Damaged(missing, "missing")
