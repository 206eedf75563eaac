"""One attempt at a run: claim it, start the training process, watch over it, and write down how it ended.

``python -m runner.train.entrypoint --store URL --run RUN_ID --work-dir DIR``

Light on purpose (no torch): it answers signals at once, goes on beating while the training process computes, and is
still there to say why when that process crashes or is killed. Exit codes: 0 succeeded; 1 failed or cancelled; 2 a
mistake of the caller's; 75 interrupted, can be resumed.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from runner.process import die_with_parent, die_with_stdin
from runner.spec.errors import UserError
from runner.spec.layout import CANCEL, RESULT, CheckpointName, run_key
from runner.storage.attempts import (
    Claim,
    attempts,
    claim_attempt,
    is_superseded,
    write_ended,
    write_heartbeat,
    write_restored,
)
from runner.storage.chunks import ChunkWriter
from runner.storage.open import open_store
from runner.storage.retry import after, retrying
from runner.storage.store import NotFound, Store, StoreUnavailable
from runner.train.arrival import ensure_run
from runner.train.events import read_events
from runner.train.fruitless import fruitless_attempts
from runner.train.patience import STORE_TROUBLE, patiently
from runner.train.preemption import EXIT_INTERRUPTED
from runner.train.restore import restore_newest

BEAT_SECONDS = 2.0
FENCE_SECONDS = 10.0
CANCEL_GRACE_SECONDS = 10.0
STORE_PATIENCE_SECONDS = 300.0
"""How long the beginning and the end of an attempt wait for a store that is away."""

_ENVIRONMENT = {
    # Progress bars rewrite a line many times a second; in a log each time is a line.
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
"""What the training process's environment says unless the caller's says otherwise. transformers and TRL also send usage
data unless told not to; that is not left to the caller: a run speaks to its store and the hub only."""

_EXIT_CODES = {"succeeded": 0, "cancelled": 1, "interrupted": EXIT_INTERRUPTED, "superseded": EXIT_INTERRUPTED}


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
        life = AttemptLife(
            open_store(options.store), options.run, options.work_dir, give_up_after=options.give_up_after
        )
        return life.live()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except StoreUnavailable as error:
        print(f"the store does not answer: {error}", file=sys.stderr)
        return EXIT_INTERRUPTED


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _oom_kills() -> int:
    """How many processes of this container the kernel has killed for memory, 0 where nobody counts."""
    for file in ("memory.events", "memory/memory.oom_control"):  # cgroup v2, v1
        try:
            lines = Path("/sys/fs/cgroup", file).read_text().splitlines()
        except OSError:
            continue
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return 0


class AttemptLife:
    """From the claim to the record of the end.

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
        self._stopping = False
        self._cancelled = False
        self._superseded = False
        self._outcome: dict[str, Any] | None = None
        self._progress: dict[str, Any] = {"phase": "starting"}
        self._stages: list[str] = []
        self._worker: subprocess.Popen[bytes] | None = None

    def live(self) -> int:
        """Make the attempt; returns the exit code."""
        ended = self._result_that_stands()
        if ended is not None:
            print(f"run {self._run_id} has {ended['state']} already", file=sys.stderr)
            return 0 if ended["state"] == "succeeded" else 1
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        self._claim = self._claimed()
        self._log = ChunkWriter(self._store, self._run_id, "logs", self._claim.token)
        oom_kills = _oom_kills()
        self._clear_leftovers()
        threads = self._start_worker()
        try:
            self._assign()
            self._watch()
        except StoreUnavailable as error:
            self._outcome = {"outcome": "interrupted", "reason": f"the store does not answer: {error}", "retry": True}
        except OSError as error:
            self._outcome = {"outcome": "interrupted", "reason": f"restoring failed: {error}", "retry": False}
        code = self._stop_worker()
        for thread in threads:
            thread.join(timeout=5)
        return self._end(code, out_of_memory=_oom_kills() > oom_kills)

    # -- beginning -----------------------------------------------------------------------------------------------

    def _result_that_stands(self) -> dict[str, Any] | None:
        def look() -> dict[str, Any] | None:
            recipe = ensure_run(self._store, self._run_id)["recipe"]
            self._stages = [stage["stage"] for stage in recipe.get("stages", ())]
            try:
                result: dict[str, Any] = json.loads(self._store.get(run_key(self._run_id, RESULT)))
            except NotFound:
                return None
            return result

        return retrying(look, until=after(STORE_PATIENCE_SECONDS))

    def _claimed(self) -> Claim:
        boot_id = Path("/proc/sys/kernel/random/boot_id")
        record = {
            "host": socket.gethostname(),
            "boot_id": boot_id.read_text().strip() if boot_id.exists() else None,
            "pid": os.getpid(),
            "started_at": _now(),
        }
        return retrying(lambda: claim_attempt(self._store, self._run_id, record), until=after(STORE_PATIENCE_SECONDS))

    def _clear_leftovers(self) -> None:
        """What attempts before this one left on this machine; whatever counts is in the store."""
        for folder in self._work_dir.glob("attempt-*"):
            shutil.rmtree(folder, ignore_errors=True)
        (self._work_dir / "shared").mkdir(parents=True, exist_ok=True)

    def _start_worker(self) -> list[threading.Thread]:
        read_end, write_end = os.pipe()
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "runner"
        arguments = [
            *("--store", self._store.url, "--run", self._run_id),
            *("--work-dir", str(self._work_dir), "--cache-dir", str(cache)),
            *("--events", str(write_end), "--parent", str(os.getpid())),
        ]
        self._worker = self.spawn(arguments, write_end)
        os.close(write_end)
        threads = [
            threading.Thread(target=self._tee, name="log", daemon=True),
            threading.Thread(target=read_events, args=(read_end, self._on_event), name="events", daemon=True),
        ]
        for thread in threads:
            thread.start()
        return threads

    def spawn(self, arguments: Sequence[str], events: int) -> "subprocess.Popen[bytes]":
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

    def _assign(self) -> None:
        """Choose and fetch the checkpoint while the worker imports torch, then tell it."""
        self._progress["phase"] = "restoring"
        folder = self._work_dir / f"attempt-{self._claim.token}" / "restored"
        restored = retrying(
            lambda: restore_newest(self._store, self._run_id, folder, warn=self._say),
            until=after(STORE_PATIENCE_SECONDS),
        )
        retrying(
            lambda: write_restored(
                self._store, self._claim, None if restored is None else restored[0], stages=self._stages
            ),
            until=after(STORE_PATIENCE_SECONDS),
        )
        if restored is not None:
            self._progress.update(step=restored[0].step, checkpoint_step=restored[0].step)
            stage = f" of stage {restored[0].stage}" if self._stages else ""
            self._say(f"attempt {self._claim.number} continues from step {restored[0].step}{stage}", level="")
        self._give_up_if_fruitless(None if restored is None else restored[0])
        assignment = {
            "number": self._claim.number,
            "token": self._claim.token,
            "checkpoint": None if restored is None else str(restored[1]),
        }
        worker = self._running_worker()
        try:
            assert worker.stdin is not None
            worker.stdin.write(json.dumps(assignment).encode() + b"\n")
            worker.stdin.close()
        except BrokenPipeError:
            return  # it has died; its exit says why

    def _give_up_if_fruitless(self, restored: CheckpointName | None) -> None:
        """End the attempt before it begins if it would be one too many."""
        if self._give_up_after is None:
            return
        earlier = [one for one in attempts(self._store, self._run_id) if one.number < self._claim.number]
        count = fruitless_attempts(earlier, restored)
        if count >= self._give_up_after:
            reason = f"gave up: {count} attempts in a row got no further than the last checkpoint"
            self._outcome = {"outcome": "interrupted", "reason": reason, "retry": False}
            self._running_worker().kill()

    # -- while it lives ------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        worker = self._running_worker()
        last_fence = time.monotonic()
        while worker.poll() is None:
            self._beat()
            if time.monotonic() - last_fence > FENCE_SECONDS:
                last_fence = time.monotonic()
                if self._is_superseded():
                    self._superseded = True
                    return
            if self._is_cancelled():
                self._cancelled = True
                return
            try:
                worker.wait(timeout=BEAT_SECONDS)
            except subprocess.TimeoutExpired:
                continue

    def _beat(self) -> None:
        """Say that we live. Hints only: a store that is away is no reason to stop."""
        try:
            write_heartbeat(self._store, self._claim, {"at": _now(), **self._progress})
            self._log.flush()
        except STORE_TROUBLE:
            return

    def _is_superseded(self) -> bool:
        try:
            return is_superseded(self._store, self._claim)
        except STORE_TROUBLE:
            return False

    def _is_cancelled(self) -> bool:
        try:
            self._store.get(run_key(self._run_id, CANCEL))
        except (NotFound, *STORE_TROUBLE):
            return False
        return True

    def _tee(self) -> None:
        stdout = self._running_worker().stdout
        assert stdout is not None
        for line in stdout:
            self._write(line.decode(errors="replace"))

    def _say(self, text: str, *, level: str = "warning: ") -> None:
        self._write(f"{level}{text}\n")

    def _write(self, text: str) -> None:
        self._log.append(text)
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:
            return  # nobody listens here; the store has it

    def _on_event(self, event: dict[str, Any]) -> None:
        kind = event.pop("kind")
        if kind == "outcome":
            self._outcome = event
        else:
            self._progress.update(event)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        if self._worker is not None and self._worker.poll() is None:
            self._worker.send_signal(signal.SIGTERM)

    def _running_worker(self) -> "subprocess.Popen[bytes]":
        assert self._worker is not None
        return self._worker

    # -- end -----------------------------------------------------------------------------------------------------

    def _stop_worker(self) -> int:
        """Its exit code; it is made to end if it has not by itself."""
        worker = self._running_worker()
        if worker.poll() is None:
            worker.send_signal(signal.SIGTERM if self._cancelled else signal.SIGKILL)
            try:
                worker.wait(timeout=CANCEL_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                worker.kill()
        return worker.wait()

    def _how_it_ended(self, code: int, *, out_of_memory: bool) -> dict[str, Any]:
        if self._cancelled:
            return {"outcome": "cancelled", "reason": "cancelled by `runner cancel`", "retry": False}
        if self._superseded:
            return {"outcome": "superseded", "reason": "a newer attempt has taken over", "retry": False}
        if self._outcome is not None:
            return self._outcome
        if self._stopping:
            return {"outcome": "interrupted", "reason": "told to stop before training began", "retry": True}
        if code < 0:
            reason = f"the training process was killed by {signal.Signals(-code).name}"
            if out_of_memory:
                reason += ": it ran out of main memory"
            return {"outcome": "interrupted", "reason": reason, "retry": True}
        return {"outcome": "failed", "reason": f"the training process ended with exit code {code}", "retry": False}

    def _end(self, code: int, *, out_of_memory: bool) -> int:
        end = self._how_it_ended(code, out_of_memory=out_of_memory)
        outcome = end["outcome"]
        exit_code = code if outcome == "failed" and code in (1, 2) else _EXIT_CODES.get(outcome, 1)
        if outcome == "interrupted" and not end["retry"] and self._give_up_after is not None:
            exit_code = 1  # 75 asks for another attempt
        try:
            if outcome in ("succeeded", "failed", "cancelled"):
                standing = patiently(lambda: self._write_result(end), until=after(STORE_PATIENCE_SECONDS))
                if standing == "superseded":
                    outcome, exit_code = "superseded", EXIT_INTERRUPTED
                elif standing != outcome:
                    outcome, exit_code = standing, _EXIT_CODES.get(standing, 1)
            self._progress["phase"] = "ending"
            self._beat()
            ended = {
                "ended_at": _now(),
                "exit_code": exit_code,
                "outcome": outcome,
                "reason": end["reason"],
                "retry": end["retry"],
            }
            patiently(
                lambda: write_ended(self._store, self._claim, ended),
                until=after(STORE_PATIENCE_SECONDS),
            )
        except StoreUnavailable as error:
            # Not told, so not done: the next attempt finds the last checkpoint and ends the run again.
            print(f"the store does not answer: {error}", file=sys.stderr)
            return EXIT_INTERRUPTED
        shutil.rmtree(self._work_dir / f"attempt-{self._claim.token}", ignore_errors=True)
        return exit_code

    def _write_result(self, end: dict[str, Any]) -> str:
        """Write the terminal state unless one stands already; returns the one that stands."""
        if is_superseded(self._store, self._claim):
            return "superseded"
        progress = {name: self._progress.get(name) for name in ("step", "max_steps")}
        progress |= {name: self._progress[name] for name in ("stage", "stage_number") if name in self._progress}
        result = {
            "state": end["outcome"],
            "reason": end["reason"],
            "ended_at": _now(),
            "attempts": self._claim.number,
            **progress,
            **end.get("result", {}),
        }
        key = run_key(self._run_id, RESULT)
        if self._store.create(key, json.dumps(result, indent=2).encode()):
            return str(end["outcome"])
        return str(json.loads(self._store.get(key))["state"])


if __name__ == "__main__":
    sys.exit(main())
