"""Who a person's command is in the journal of a sweep."""

import os
import socket

from runner.storage.store import Store
from runner.sweeps.definition import read_definition
from runner.sweeps.journal import Journal


def journal_of(store: Store, sweep_id: str) -> Journal:
    """Return the journal of a sweep, to write to as this process.

    Raises:
        NotFound: there is no such sweep.
        DamagedRecord: its definition cannot be trusted.
    """
    return Journal(store, read_definition(store, sweep_id), by=f"{socket.gethostname()} {os.getpid()}")
