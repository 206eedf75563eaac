"""The program that is a sweep's worker.

``python -m runner.train.sweep_worker --store URL --sweep SWEEP_ID --work-dir DIR``

Light like `runner.train.entrypoint`: no torch. It makes attempts at trials, each in training processes of its own. Exit
codes: 0 nothing is left to do; 2 a mistake of the caller's; 75 it was told to stop, or the store stayed away.
"""

import argparse
import logging
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from socket import gethostname
from typing import Any

from runner.exit_codes import MISTAKE
from runner.process import die_with_parent
from runner.redaction import Redactor
from runner.runs.layout import SECRET_NAMES, new_nonce
from runner.storage.open import open_store
from runner.storage.retry import after, retrying
from runner.storage.store import NotFound
from runner.sweeps.definition import read_definition
from runner.sweeps.workers.prices import find_worker_price
from runner.train.agent.log import LOGGER, set_up_logging
from runner.train.agent.money.gpu import find_accelerator_name
from runner.train.agent.records.ending import exit_code_of_call
from runner.train.agent.warm.processes import WarmProcesses
from runner.train.entrypoint import start_worker
from runner.train.sweeping.worker import SweepWorker, WorkerTiming

_log = logging.getLogger(f"{LOGGER}.sweep_worker")


def main(arguments: Sequence[str] | None = None) -> int:
    """Work for a sweep; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m runner.train.sweep_worker")
    parser.add_argument("--store", required=True, help="URL of the store")
    parser.add_argument("--sweep", required=True, help="id of the sweep")
    parser.add_argument("--work-dir", type=Path, required=True, help="a local folder of the worker's own")
    parser.add_argument("--worker", help="the worker's name; by default made from the host's")
    parser.add_argument("--parent", type=int, help="process id to die with")
    parser.add_argument("--idle-minutes", type=float, help="leave after so long without a trial")
    options = parser.parse_args(arguments)
    if options.parent is not None:
        die_with_parent(options.parent)
    redact = Redactor.of_environment(os.environ, os.environ.get(SECRET_NAMES, "").split(","))
    set_up_logging(redact=redact)
    kept_rows = options.work_dir / "rows"
    shutil.rmtree(kept_rows, ignore_errors=True)  # a machine that crashed may have left half of what was written
    try:
        return exit_code_of_call(lambda: _work(options, redact, kept_rows), _log)
    except NotFound:  # it never was there, or was removed meanwhile
        _log.error("there is no sweep %s in %s", options.sweep, options.store)
        return MISTAKE
    finally:
        shutil.rmtree(kept_rows, ignore_errors=True)


def _work(options: argparse.Namespace, redact: Redactor, kept_rows: Path) -> int:
    store = open_store(options.store)
    definition = retrying(lambda: read_definition(store, options.sweep), until=after(WorkerTiming().store))
    methods, builtin = preparations(definition.resolved)
    warm = WarmProcesses(start_worker, methods=methods, builtin=builtin, kept_rows=kept_rows)
    accelerator = find_accelerator_name(os.environ)
    price = retrying(
        lambda: find_worker_price(store, options.sweep, definition.prices, accelerator, os.environ),
        until=after(WorkerTiming().store),
    )
    worker = SweepWorker(
        store=store,
        definition=definition,
        name=worker_name(options.worker),
        work_dir=options.work_dir,
        spawn=warm,
        prepare=warm.is_settled,
        accelerator=accelerator,
        price=price,
        idle_seconds=None if options.idle_minutes is None else 60 * options.idle_minutes,
        redact=redact,
    )
    return worker.run()


def preparations(recipe: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """What can be done once for all trials of a recipe: its methods, and the built-in data sets that it names."""
    methods, builtin = [], []
    for stage in recipe.get("stages") or [recipe]:
        methods.append(str(stage.get("method") or recipe.get("method") or "sft"))
        data = stage.get("data") or recipe.get("data") or {}
        train = data.get("train") if isinstance(data, Mapping) else None
        paths = [source.get("path") for source in train or () if isinstance(source, Mapping)]
        builtin += [path for path in paths if isinstance(path, str) and path.startswith("builtin:")]
    return list(dict.fromkeys(methods)), list(dict.fromkeys(builtin))


def worker_name(prefix: str | None) -> str:
    """A name that no other worker has, in one word."""
    host = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in prefix or gethostname())
    return f"{host[:60]}-{new_nonce(4)}"


if __name__ == "__main__":
    sys.exit(main())
