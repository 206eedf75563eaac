"""The local files that a recipe names, which travelled with the run: ``inputs/<digest>/<name>``."""

import re
from functools import partial
from pathlib import Path

from runner.runs.layout import run_key
from runner.storage.commit import digest
from runner.storage.manifest import Damaged
from runner.storage.names.placing import place
from runner.storage.retry import Caller, directly
from runner.storage.store import NotFound, Store

_INPUT = re.compile(r"inputs/(?P<digest>[0-9a-f]{64})/[^/]+")


def fetch_input(store: Store, run_id: str, key: str, folder: Path, *, call: Caller = directly) -> Path:
    """Return the local copy of an input, which holds the very bytes that the run was launched with.

    They are compared with the digest in the key each time, before anybody reads, imports or runs them.

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
    match = _INPUT.fullmatch(key)
    if match is None:
        raise Damaged(ascii(key), "not the key of a file that travelled with a run")
    path = place(folder, key)
    if path.is_file() and digest(path) == match["digest"]:
        return path
    whole_key = run_key(run_id, key)
    try:
        call(partial(store.download, whole_key, path))
    except NotFound as error:
        raise Damaged(whole_key, "missing") from error
    if digest(path) != match["digest"]:
        path.unlink()
        raise Damaged(whole_key, "it was altered after the launch, and is not used: its digest is not that of its name")
    return path
