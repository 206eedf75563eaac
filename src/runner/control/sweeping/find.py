"""All sweeps of a store, finding one of them as runs are found, and its journal for a command to write to."""

import difflib
import os
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from runner.errors import UserError
from runner.runs.listing import LAST
from runner.runs.records import exists
from runner.storage.manifest import Damaged
from runner.storage.store import NotFound, Store
from runner.sweeps.definition import Definition, read_definition
from runner.sweeps.journal import Journal
from runner.sweeps.layout import SWEEP, SWEEPS, is_sweep_id, sweep_key
from runner.sweeps.views.overview import Overview, make_overview

_READERS = 32
_MOST_CHECKED = 10


def sweep_definitions(
    store: Store, *, on_damaged: Callable[[str, Damaged], None] = lambda sweep_id, error: None
) -> list[Definition]:
    """Return the definition of every sweep of the store, the newest first.

    Args:
        store: where sweeps live.
        on_damaged: called with the id of a sweep that is left out because its definition cannot be trusted.
    """

    def definition_or_error(sweep_id: str) -> Definition | Damaged | None:
        try:
            return read_definition(store, sweep_id)
        except NotFound:
            return None
        except Damaged as error:
            return error

    names = list(_sweep_ids(store))
    found = []
    with ThreadPoolExecutor(_READERS, thread_name_prefix="sweeps") as readers:
        for sweep_id, definition in zip(names, readers.map(definition_or_error, names), strict=True):
            if isinstance(definition, Damaged):
                on_damaged(sweep_id, definition)
            elif definition is not None:
                found.append(definition)
    return sorted(found, key=lambda definition: (definition.created_at, definition.sweep_id), reverse=True)


def list_sweeps(
    store: Store,
    *,
    most: int | None = None,
    on_damaged: Callable[[str, Damaged], None] = lambda sweep_id, error: None,
) -> tuple[list[Overview], int]:
    """Return the newest sweeps of the store at a glance, the newest first, and how many older ones there are.

    Args:
        store: where sweeps live.
        most: how many are read; None: all.
        on_damaged: called with the id of a sweep that is left out because a record of it cannot be trusted.
    """
    definitions = sweep_definitions(store, on_damaged=on_damaged)
    chosen = definitions[:most]
    now = datetime.now(UTC)

    def overview_or_error(definition: Definition) -> Overview | Damaged:
        try:
            return make_overview(definition, Journal(store, definition, by="a reader").catch_up(), now=now)
        except Damaged as error:
            return error

    found = []
    with ThreadPoolExecutor(_READERS, thread_name_prefix="sweeps") as readers:
        for definition, overview in zip(chosen, readers.map(overview_or_error, chosen), strict=True):
            if isinstance(overview, Damaged):
                on_damaged(definition.sweep_id, overview)
            else:
                found.append(overview)
    return found, len(definitions) - len(chosen)


def find_sweep(store: Store, text: str) -> str:
    """Return the id of the sweep that `text` names: its id, the beginning or the end of it, or ``last``.

    Raises:
        UserError: it names none, or more than one; the message names similar ids.
    """
    if text == LAST:
        sweeps = sweep_definitions(store)
        if not sweeps:
            raise UserError("there is no sweep yet", where=store.url, remedy="`runner sweep launch FILE` starts one")
        return sweeps[0].sweep_id
    if is_sweep_id(text) and exists(store, sweep_key(text, SWEEP)):
        return text
    known = list(_sweep_ids(store))
    names = [name for name in known if name.startswith(text) or name.endswith(text)] if text else []
    matches = names if len(names) > _MOST_CHECKED else [name for name in names if exists(store, sweep_key(name, SWEEP))]
    if len(matches) == 1:
        return matches[0]
    if matches:
        shown = ", ".join(matches[:5]) + (f" and {len(matches) - 5} more" if len(matches) > 5 else "")
        raise UserError(
            f"{text!r} fits {len(matches)} sweeps: {shown}",
            remedy="write more of the id; `runner sweep ls` lists every sweep",
        )
    near = difflib.get_close_matches(text, known, n=3, cutoff=0.5)
    raise UserError(
        f"no sweep {text!r} in {store.url}",
        remedy=f"did you mean {' or '.join(near)}?" if near else "`runner sweep ls` lists the sweeps of the store",
    )


def _sweep_ids(store: Store) -> Iterable[str]:
    return filter(is_sweep_id, store.folders(SWEEPS))


def journal_of(store: Store, sweep_id: str) -> Journal:
    """Return the journal of a sweep, to write to as this process.

    Raises:
        NotFound: there is no such sweep.
        DamagedRecord: its definition cannot be trusted.
    """
    return Journal(store, read_definition(store, sweep_id), by=f"{socket.gethostname()} {os.getpid()}")
