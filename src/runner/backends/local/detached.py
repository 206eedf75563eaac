"""A supervisor in a process of its own: it goes on when the terminal that launched the run is closed.

`start_detached` starts ``python -m runner.backends.local.detached --store URL --run RUN_ID --lock FD``, which inherits
the run's lock. What happens goes into ``supervisor.log`` in the run's state folder until the run has ended.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from runner.backends.local.attempts import ENTRYPOINT
from runner.backends.local.supervised import SupervisedBackend
from runner.backends.local.supervisor import Supervisor
from runner.backends.lock import RunLock
from runner.backends.registry import backend_for
from runner.errors import UserError
from runner.paths import state_folder
from runner.runs.launches import run_placement
from runner.runs.liveness import newest_attempt
from runner.runs.records import run_result, utc_now
from runner.storage.open import open_store
from runner.storage.store import Store

_LOG = "supervisor.log"


def start_detached(
    store: Store,
    run_id: str,
    lock: RunLock,
    *,
    environment: Mapping[str, str],
    entrypoint: str = ENTRYPOINT,
    on_start: Callable[[int], None] = lambda pid: None,
) -> int:
    """Supervise the run in a process of its own, and return when its attempt has claimed the run.

    Args:
        store: where the run lives.
        run_id: the run.
        lock: handed over; closed here.
        environment: variables for the attempts. They are passed through the supervisor's environment.
        entrypoint: the module that runs an attempt.
        on_start: called with the supervisor's process id, as soon as it has one.

    Returns:
        The supervisor's process id.

    Raises:
        UserError: the supervisor ended before an attempt began; the message repeats its words.
    """
    before = newest_attempt(store, run_id)
    folder = state_folder(store.url, run_id)
    command = [sys.executable, "-P", "-m", "runner.backends.local.detached", "--store", store.url, "--run", run_id]
    command += ["--lock", str(lock.descriptor), "--entrypoint", entrypoint]
    with (folder / _LOG).open("wb") as log:
        supervisor = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            pass_fds=[lock.descriptor],
            start_new_session=True,
        )
    on_start(supervisor.pid)
    lock.close()
    while True:
        ended = supervisor.poll() is not None
        newest = newest_attempt(store, run_id)
        if newest is not None and (before is None or newest.number > before.number):
            return supervisor.pid
        if ended:
            break
        time.sleep(0.05)
    if run_result(store, run_id) is None:
        message = (folder / _LOG).read_text(errors="replace").strip() or f"exit code {supervisor.returncode}"
        raise UserError(f"no attempt began: {message}", where=run_id, remedy=f"fix that, then `runner resume {run_id}`")
    return supervisor.pid


def main(arguments: Sequence[str] | None = None) -> int:
    """Supervise a run whose lock was inherited; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m runner.backends.local.detached")
    parser.add_argument("--store", required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--lock", type=int, required=True, help="the open lock file's descriptor")
    parser.add_argument("--entrypoint", default=ENTRYPOINT)
    options = parser.parse_args(arguments)
    os.set_inheritable(options.lock, False)
    RunLock(options.lock).sign()

    def say(sentence: str) -> None:
        print(utc_now(), sentence, flush=True)

    store = open_store(options.store)
    document = run_placement(store, options.run)
    backend = backend_for(document["infra"])
    if not isinstance(backend, SupervisedBackend):
        raise UserError(f"the run was launched to {document['infra']}, not to this machine", where=options.run)
    attempts = backend.attempts(document, entrypoint=options.entrypoint)
    supervisor = Supervisor(store, options.run, environment={}, say=say, attempts=attempts)
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main())
