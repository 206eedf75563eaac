"""One attempt at a run: claim it, start the training processes, watch over them, and write down how it ended.

``python -m runner.train.entrypoint --store URL --run RUN_ID --work-dir DIR``

Light on purpose (no torch): it answers signals at once, goes on beating while the training process computes, and is
still there to say why when that process crashes or is killed. Exit codes: 0 succeeded; 1 failed or cancelled; 2 a
mistake of the caller's; 75 interrupted, can be resumed.

Of several machines (`runner.train.agent.topology`) each runs this. The head's claims the attempt; the others' join it
(`runner.train.agent.node_agent`).
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from runner.errors import UserError
from runner.exit_codes import INTERRUPTED
from runner.paths import cache_folder
from runner.process import die_with_parent, die_with_stdin
from runner.runs.record_types.result import Result
from runner.runs.record_types.run import ResolvedRecipe
from runner.runs.records import run_result
from runner.storage.manifest import Damaged
from runner.storage.open import open_store
from runner.storage.retry import STORE_PATIENCE_SECONDS, after, retrying
from runner.storage.store import Store, StoreUnavailable
from runner.train.agent.head_agent import HeadAgent
from runner.train.agent.node_agent import NodeAgent
from runner.train.agent.run_record import load_or_register_run
from runner.train.agent.topology import detect_topology
from runner.train.agent.worker_group import Process

_ENVIRONMENT = {
    # Progress bars rewrite a line many times a second; in a log each time is a line.
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
"""What the training process's environment says unless the caller's says otherwise. transformers and TRL also send usage
data unless told not to; that is not left to the caller: a run speaks to its store and the hub only."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Make one attempt; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m runner.train.entrypoint")
    parser.add_argument("--store", required=True, help="URL of the store")
    parser.add_argument("--run", required=True, help="id of the run")
    parser.add_argument("--work-dir", type=Path, required=True, help="a local folder of the run's own")
    parser.add_argument("--parent", type=int, help="process id of the supervisor to die with")
    parser.add_argument("--give-up-after", type=int, metavar="N", help="attempts in a row that got no further")
    parser.add_argument("--until-stdin-closes", action="store_true", help="die with who holds standard input open")
    options = parser.parse_args(arguments)
    if options.parent is not None:
        die_with_parent(options.parent)
    if options.until_stdin_closes:
        die_with_stdin()
    try:
        agent = AttemptLife(
            open_store(options.store), options.run, options.work_dir, give_up_after=options.give_up_after
        )
        return agent.run()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except StoreUnavailable as error:
        print(f"the store does not answer: {error}", file=sys.stderr)
        return INTERRUPTED
    except Damaged as error:
        print(f"error: damaged in the store: {error}", file=sys.stderr)
        return 1


class AttemptLife:
    """An attempt on this machine, which leads it or takes part.

    Args:
        store: where the run lives.
        run_id: which run.
        work_dir: a folder on this machine that all attempts of the run share.
        give_up_after: attempts in a row without a newer checkpoint after which no more are made; None: whoever starts
            attempts counts them.
    """

    def __init__(self, store: Store, run_id: str, work_dir: Path, *, give_up_after: int | None = None) -> None:
        self._store = store
        self._run_id = run_id
        self._work_dir = work_dir
        self._give_up_after = give_up_after

    def run(self) -> int:
        """Make the attempt unless the run has ended already; returns the exit code."""
        recipe, ended = retrying(self._look, until=after(STORE_PATIENCE_SECONDS))
        if ended is not None:
            print(f"run {self._run_id} has {ended['state']} already", file=sys.stderr)
            return 0 if ended["state"] == "succeeded" else 1
        stages = recipe.get("stages") or []
        first = stages[0] if stages else recipe
        use_cpu = bool(first.get("training", {}).get("use_cpu"))
        topology = detect_topology(os.environ, use_cpu=use_cpu)
        where = (self._store, self._run_id, self._work_dir, topology)
        if not topology.is_head:
            return NodeAgent(*where, spawn=self.spawn, arguments=self._arguments(), result=self._result).run()
        return HeadAgent(
            *where,
            spawn=self.spawn,
            arguments=self._arguments(),
            stages=[stage["stage"] for stage in stages],
            give_up_after=self._give_up_after,
        ).run()

    def _look(self) -> tuple[ResolvedRecipe, Result | None]:
        """The run's recipe, and its result if it has one."""
        return load_or_register_run(self._store, self._run_id)["recipe"], self._result()

    def _result(self) -> Result | None:
        return run_result(self._store, self._run_id)

    def _arguments(self) -> list[str]:
        return [
            *("--store", self._store.url, "--run", self._run_id),
            *("--work-dir", str(self._work_dir), "--cache-dir", str(cache_folder()), "--parent", str(os.getpid())),
        ]

    def spawn(self, arguments: Sequence[str], events: int) -> Process:
        """Start `runner.train.worker` with its standard input and output piped, and `events` left open in it."""
        # -P: a `datasets.py` in the working directory must not be taken for the library.
        return self._start([sys.executable, "-P", "-u", "-m", "runner.train.worker", *arguments], events)

    def _start(self, command: Sequence[str], events: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[events],
            env={**_ENVIRONMENT, **os.environ, "HF_HUB_DISABLE_TELEMETRY": "1"},
            # Signals reach it through us only, also when the terminal's Ctrl-C goes to the whole group.
            process_group=0,
        )


if __name__ == "__main__":
    sys.exit(main())
