"""The life of an attempt on the machine that leads it: claim it, begin it, watch over it, and write down how it ended.

Of several machines the other ones run `runner.train.agent.node_agent`.
"""

import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, cast

from runner.exit_codes import INTERRUPTED
from runner.runs.attempts import (
    Attempt,
    Claim,
    attempts,
    claim_attempt,
    is_superseded,
    write_ended,
    write_heartbeat,
    write_restored,
)
from runner.runs.chunks import ChunkWriter
from runner.runs.layout import CheckpointName
from runner.runs.record_types.result import Result
from runner.runs.records import is_cancel_requested, write_result
from runner.storage.retry import STORE_ERRORS, STORE_PATIENCE_SECONDS, after, retry_store_call, retrying
from runner.storage.store import Store, StoreUnavailable
from runner.train.agent.node_monitor import NodeMonitor
from runner.train.agent.outcome import attempt_outcome
from runner.train.agent.preemption import is_eviction
from runner.train.agent.restart_policy import attempts_without_progress, last_oom_split, retry_smaller
from runner.train.agent.restore import restore_newest
from runner.train.agent.topology import Topology, free_port
from runner.train.agent.worker_group import PEER_SECONDS, UPLOAD_SECONDS, Process, WorkerGroup

BEAT_SECONDS = 2.0
FENCE_SECONDS = 10.0
CANCEL_GRACE_SECONDS = 10.0
JOIN_SECONDS = 1800.0
"""How long the head waits for the other machines, which may still be coming up."""

_EXIT_CODES = {"succeeded": 0, "cancelled": 1, "interrupted": INTERRUPTED, "superseded": INTERRUPTED}


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


class HeadAgent:
    """From the claim to the record of the end, and again after memory ran out.

    Args:
        store: where the run lives.
        run_id: which run.
        work_dir: a folder on this machine that all attempts of the run share.
        topology: this machine's.
        spawn: starts a training process, as `WorkerGroup` asks for it.
        arguments: what each training process is told on its command line.
        stages: the names of the run's stages; none, of a run without stages.
        give_up_after: attempts in a row without a newer checkpoint after which no more are made; None: whoever starts
            attempts counts them.
    """

    def __init__(
        self,
        store: Store,
        run_id: str,
        work_dir: Path,
        topology: Topology,
        *,
        spawn: Callable[[Sequence[str], int], Process],
        arguments: Sequence[str],
        stages: Sequence[str] = (),
        give_up_after: int | None = None,
    ) -> None:
        self._store = store
        self._run_id = run_id
        self._work_dir = work_dir
        self._topology = topology
        self._spawn = spawn
        self._arguments = arguments
        self._stages = stages
        self._give_up_after = give_up_after
        self._stopping = False
        self._again = True

    def run(self) -> int:
        """Make the attempt, and the next one after it ran out of memory; returns the exit code."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        code = INTERRUPTED
        while self._again and not self._stopping:
            self._again = False
            code = self._attempt()
        return code

    def _attempt(self) -> int:
        """Make one attempt; returns its exit code."""
        self._cancelled = False
        self._superseded = False
        self._outcome: dict[str, Any] | None = None
        self._progress: dict[str, Any] = {"phase": "starting"}
        self._split: list[int] | None = None
        self._note: str | None = None
        self._fence_at = time.monotonic() + FENCE_SECONDS
        self._claim = self._claimed()
        self._nodes = NodeMonitor(self._store, self._claim, self._topology)
        self._log = ChunkWriter(self._store, self._run_id, "logs", self._claim.token)
        oom_kills = _oom_kills()
        self._clear_leftovers()
        self._workers = WorkerGroup(
            self._topology.processes_per_node, spawn=self._spawn, say=self._write, on_progress=self._progress.update
        )
        self._workers.start(self._arguments)
        if self._stopping:
            self._workers.send_signal(signal.SIGTERM)
        try:
            self._assign()
            self._watch()
        except StoreUnavailable as error:
            self._outcome = {"outcome": "interrupted", "reason": f"the store does not answer: {error}", "retry": True}
        except OSError as error:
            gone = self._stopping or is_eviction(error, self._work_dir)
            self._outcome = {"outcome": "interrupted", "reason": f"restoring failed: {error}", "retry": gone}
        self._workers.end(terminate_first=self._cancelled, grace_seconds=CANCEL_GRACE_SECONDS)
        self._hear_fellows()
        return self._end(out_of_memory=_oom_kills() > oom_kills)

    # -- beginning -----------------------------------------------------------------------------------------------

    def _claimed(self) -> Claim:
        boot_id = Path("/proc/sys/kernel/random/boot_id")
        record = {
            "host": socket.gethostname(),
            "boot_id": boot_id.read_text().strip() if boot_id.exists() else None,
            "pid": os.getpid(),
            "started_at": _now(),
            **(
                {"nodes": self._topology.num_nodes, "processes": self._topology.world_size}
                if self._topology.world_size > 1
                else {}
            ),
        }
        return retrying(lambda: claim_attempt(self._store, self._run_id, record), until=after(STORE_PATIENCE_SECONDS))

    def _clear_leftovers(self) -> None:
        """What attempts before this one left on this machine; whatever counts is in the store."""
        for folder in self._work_dir.glob("attempt-*"):
            shutil.rmtree(folder, ignore_errors=True)
        (self._work_dir / "shared").mkdir(parents=True, exist_ok=True)

    def _assign(self) -> None:
        """Choose and fetch the checkpoint while the workers import torch; wait for the other machines; tell all."""
        self._progress["phase"] = "restoring"
        folder = self._work_dir / f"attempt-{self._claim.token}" / "restored"
        restored = retrying(
            lambda: restore_newest(self._store, self._run_id, folder, warn=self._say),
            until=after(STORE_PATIENCE_SECONDS),
        )
        known = retrying(lambda: attempts(self._store, self._run_id), until=after(STORE_PATIENCE_SECONDS))
        self._split = last_oom_split(known)
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
        if self._split is not None:
            micro_batch, accumulation = self._split
            self._note = f"micro-batches of {micro_batch}, {accumulation} in a step, since memory ran out"
            self._say(f"attempt {self._claim.number} trains in {self._note}", level="")
        if self._gave_up(None if restored is None else restored[0], known) or not self._all_here():
            return
        assignment = {
            "number": self._claim.number,
            "token": self._claim.token,
            "split": self._split,
            "world_size": self._topology.world_size,
            "local_world_size": self._topology.processes_per_node,
            "addresses": self._topology.node_ips,
            "port": free_port(self._topology.node_ips[0]),
        }
        checkpoint = None if restored is None else str(restored[0])
        retrying(
            lambda: self._nodes.begin({"assignment": assignment, "checkpoint": checkpoint}),
            until=after(STORE_PATIENCE_SECONDS),
        )
        self._workers.assign({**assignment, "checkpoint": None if restored is None else str(restored[1])})

    def _all_here(self) -> bool:
        """Wait for the other machines; False if there is a reason not to wait any longer."""
        until = time.monotonic() + JOIN_SECONDS
        beat_at = 0.0
        while lacking := self._nodes.missing_nodes():
            if time.monotonic() > until:
                reason = f"machines {', '.join(map(str, lacking))} did not come within {JOIN_SECONDS / 60:.0f} minutes"
                self._outcome = {"outcome": "interrupted", "reason": reason, "retry": True}
                self._workers.hurry(0)
                return False
            if time.monotonic() > beat_at:
                beat_at = time.monotonic() + BEAT_SECONDS
                self._progress["message"] = f"waiting for machines {', '.join(map(str, lacking))}"
                self._beat()
                if self._stop_is_due():
                    return False
            if self._workers.wait(min(1.0, BEAT_SECONDS)):
                return False
        self._progress.pop("message", None)
        return True

    def _gave_up(self, restored: CheckpointName | None, known: Sequence[Attempt]) -> bool:
        """Whether this attempt would be one too many; then it ends before it begins."""
        if self._give_up_after is None:
            return False
        count = attempts_without_progress([one for one in known if one.number < self._claim.number], restored)
        if count < self._give_up_after:
            return False
        reason = f"gave up: {count} attempts in a row got no further than the last checkpoint"
        self._outcome = {"outcome": "interrupted", "reason": reason, "retry": False}
        self._workers.hurry(0)
        return True

    # -- while it lives ------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        while True:
            self._beat()
            if self._stop_is_due():
                return
            self._nodes.look()
            if self._nodes.any_failed:
                self._workers.hurry(UPLOAD_SECONDS if self._nodes.told_to_stop else PEER_SECONDS)
            if self._workers.wait(BEAT_SECONDS):
                return

    def _stop_is_due(self) -> bool:
        """Whether a newer attempt has begun, or somebody has cancelled the run."""
        if time.monotonic() > self._fence_at:
            self._fence_at = time.monotonic() + FENCE_SECONDS
            self._superseded = self._is_superseded()
        self._cancelled = not self._superseded and self._is_cancelled()
        return self._superseded or self._cancelled

    def _beat(self) -> None:
        """Say that we live. Hints only: a store that is away is no reason to stop."""
        try:
            message = self._progress.get("message") or self._note
            write_heartbeat(self._store, self._claim, {"at": _now(), **self._progress, "message": message})
            self._log.flush()
        except STORE_ERRORS:
            return

    def _is_superseded(self) -> bool:
        try:
            return is_superseded(self._store, self._claim)
        except STORE_ERRORS:
            return False

    def _is_cancelled(self) -> bool:
        try:
            return is_cancel_requested(self._store, self._run_id)
        except STORE_ERRORS:
            return False

    def _say(self, text: str, *, level: str = "warning: ") -> None:
        self._write(f"{level}{text}\n")

    def _write(self, text: str) -> None:
        self._log.append(text)
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:
            return  # nobody listens here; the store has it

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        if hasattr(self, "_crew"):
            self._workers.send_signal(signal.SIGTERM)

    # -- end -----------------------------------------------------------------------------------------------------

    def _hear_fellows(self) -> None:
        """Wait for what the other machines say of their end: the first cause may be there."""
        if self._cancelled or self._superseded or self._outcome is not None:
            return
        until = after(2 * PEER_SECONDS)
        while not self._nodes.all_ended and not until():
            self._nodes.look()
            leader = self._workers.ends()[0]
            if leader["code"] == 0:
                return
            time.sleep(0.2)
        for rank, end in self._nodes.ended.items():
            if end["exit_code"] not in (0, INTERRUPTED):
                for line in end.get("last_lines", []):
                    self._write(f"[machine {rank}, {end.get('host', '?')}] {line}")

    def _how_it_ended(self, *, out_of_memory: bool) -> dict[str, Any]:
        if self._cancelled:
            return {"outcome": "cancelled", "reason": "cancelled by `runner cancel`", "retry": False}
        if self._superseded:
            return {"outcome": "superseded", "reason": "a newer attempt has taken over", "retry": False}
        if self._outcome is not None:
            return self._outcome
        ends = [*self._workers.ends(), *self._nodes.ends()]
        if self._stopping and not any(end["outcome"] for end in ends):
            return {"outcome": "interrupted", "reason": "told to stop before training began", "retry": True}
        return attempt_outcome(ends, missing_nodes=self._nodes.missing, out_of_main_memory=out_of_memory)

    def _end(self, *, out_of_memory: bool) -> int:
        end = self._how_it_ended(out_of_memory=out_of_memory)
        if end["outcome"] == "out_of_memory":
            end = retry_smaller(end)
            self._again = end["again"] = "split" in end and not self._stopping
            self._say(end["reason"], level="error: " if end["outcome"] == "failed" else "warning: ")
        outcome = end["outcome"]
        mistaken = outcome == "failed" and any(each["code"] == 2 for each in self._workers.ends())
        exit_code = 2 if mistaken else _EXIT_CODES.get(outcome, 1)
        if outcome == "interrupted" and not end["retry"] and self._give_up_after is not None:
            exit_code = 1  # 75 asks for another attempt
        try:
            if outcome in ("succeeded", "failed", "cancelled"):
                standing = retry_store_call(lambda: self._write_result(end), until=after(STORE_PATIENCE_SECONDS))
                if standing == "superseded":
                    outcome, exit_code = "superseded", INTERRUPTED
                elif standing != outcome:
                    outcome, exit_code = standing, _EXIT_CODES.get(standing, 1)
            self._progress["phase"] = "ending"
            self._beat()
            ended: dict[str, Any] = {
                "ended_at": _now(),
                "exit_code": exit_code,
                "outcome": outcome,
                "reason": end["reason"],
                "retry": end["retry"],
                **{name: end[name] for name in ("split", "again") if name in end},
            }
            retry_store_call(
                lambda: write_ended(self._store, self._claim, ended),
                until=after(STORE_PATIENCE_SECONDS),
            )
        except StoreUnavailable as error:
            # Not told, so not done: the next attempt finds the last checkpoint and ends the run again.
            print(f"the store does not answer: {error}", file=sys.stderr)
            return INTERRUPTED
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
        return write_result(self._store, self._run_id, cast(Result, result))["state"]
