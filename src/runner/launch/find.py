"""Which run is meant: an id, the beginning or the end of one, or ``last``."""

import difflib

from runner.errors import UserError
from runner.runs.layout import RUN, RUNS, is_run_id, run_key
from runner.runs.listing import list_runs
from runner.storage.store import NotFound, Store

_MOST_CHECKED = 10

LAST = "last"
"""Stands for the run that was submitted last."""


def find_run(store: Store, text: str) -> str:
    """The id of the run that `text` names.

    Raises:
        UserError: none, or more than one; the message names what is near.
    """
    if text == LAST:
        runs = list_runs(store)
        if not runs:
            raise UserError("there is no run yet", where=store.url, remedy="`runner launch RECIPE` starts one")
        return runs[0].run_id
    if is_run_id(text) and _exists(store, text):
        return text
    names = [name for name in store.folders(RUNS) if name.startswith(text) or name.endswith(text)] if text else []
    matches = names if len(names) > _MOST_CHECKED else [name for name in names if _exists(store, name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        shown = ", ".join(matches[:5]) + (f" and {len(matches) - 5} more" if len(matches) > 5 else "")
        raise UserError(f"{text!r} fits {len(matches)} runs: {shown}", where="RUN", remedy="write more of the id")
    near = difflib.get_close_matches(text, store.folders(RUNS), n=3, cutoff=0.5)
    raise UserError(
        f"no run {text!r} in {store.url}",
        where="RUN",
        remedy=f"did you mean {' or '.join(near)}?" if near else "`runner ps --all` lists the runs of the store",
    )


def _exists(store: Store, run_id: str) -> bool:
    try:
        store.get(run_key(run_id, RUN))
    except NotFound:
        return False
    return True
