"""The run's record (``run.json``), from the store or from the environment of the task that started the attempt."""

import os
from collections.abc import Mapping

import yaml

from runner.errors import UserError
from runner.runs.inputs import input_keys
from runner.runs.layout import RUN, RUN_VARIABLE, run_key
from runner.runs.record_types.run import RunDocument
from runner.runs.records import check_document, encoded, run_document
from runner.storage.store import NotFound, Store


def load_or_register_run(store: Store, run_id: str, environ: Mapping[str, str] = os.environ) -> RunDocument:
    """Return the run's record. If the store has none, take it from `RUN_VARIABLE` and store it.

    A task that was launched by hand (`runner render`) has the record in that variable.

    Args:
        store: the store that holds the run, or will.
        run_id: the run's id.
        environ: the variables of the environment.

    Raises:
        UserError: the run is unknown, or files that it reads are not in the store.
        DamagedRecord: the record cannot be trusted.
    """
    try:
        return run_document(store, run_id)
    except NotFound:
        document = yaml.safe_load(environ.get(RUN_VARIABLE, ""))
    if not isinstance(document, dict) or document.get("run_id") != run_id:
        raise UserError(f"no run {run_id!r} in {store.url}", remedy="`runner ps` lists the runs of a store")
    document = check_document(document, run_id)
    missing = [key for key in input_keys(document["recipe"]) if not _exists(store, run_key(run_id, key))]
    if missing:
        raise UserError(
            f"files that the run reads are not in the store: {', '.join(missing)}",
            where=run_id,
            remedy="`runner launch` brings them there; a task that was only rendered does not",
        )
    store.create(run_key(run_id, RUN), encoded(document))
    return document


def _exists(store: Store, key: str) -> bool:
    return any(entry.key == key for entry in store.objects(key[: key.rindex("/") + 1]))
