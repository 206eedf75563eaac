"""An attempt program without torch: it keeps the contract of `runner.train.entrypoint`, and dies as a test says.

The variable STAND_IN holds JSON: by attempt number (or ``*``) a verb and the step at which it is done:
``finish``, ``kill`` (SIGKILL to itself), ``interrupt`` (ends with 75), ``stop`` (75, ``retry: false``), ``fail``,
``outside`` (75, something outside of the run failed), ``mistake`` (a failed result and exit 2), ``hang`` (deaf to
SIGTERM), ``crash`` (exit 1 before anything else).
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from runner.notices import Notice, NoticeWriter
from runner.process import die_with_parent
from runner.runs.attempts import Claim, claim_attempt, write_ended, write_heartbeat, write_restored
from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.chunks import ChunkWriter
from runner.runs.layout import CheckpointName, artifact_prefix, checkpoint_prefix
from runner.runs.records import is_cancel_requested, times_reopened, write_result
from runner.storage.commit import commit
from runner.storage.open import open_store
from runner.storage.store import Store

STEPS = 10
WORKER = (
    "import sys, time; from runner.process import die_with_parent; die_with_parent(int(sys.argv[1])); time.sleep(600)"
)


class Life:
    """One attempt."""

    def __init__(self, store: Store, run_id: str, work_dir: Path) -> None:
        self.store = store
        self.run_id = run_id
        self.stopping = False
        self.reopened = times_reopened(store, run_id)
        self.plan = json.loads(os.environ.get("STAND_IN", "{}"))
        if self.plan.get("*") == ["crash", 0]:
            raise SystemExit(1)
        record = {
            "host": socket.gethostname(),
            "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            "pid": os.getpid(),
            "started_at": "2026-01-01T00:00:00+00:00",
        }
        self.claim: Claim = claim_attempt(store, run_id, record)
        signal.signal(signal.SIGTERM, self.on_sigterm)
        self.verb, self.at = self.plan.get(str(self.claim.number), self.plan.get("*", ["finish", STEPS]))
        self.log = ChunkWriter(store, run_id, "logs", self.claim.token)
        self.metrics = ChunkWriter(store, run_id, "metrics", self.claim.token)
        work_dir.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-c", WORKER, str(os.getpid())]
        self.worker = subprocess.Popen(command, process_group=0)
        self.notices = NoticeWriter(work_dir)
        (work_dir / "pids").write_text(f"{os.getpid()} {self.worker.pid}")

    def on_sigterm(self, number: int, frame: object) -> None:
        if self.verb != "hang":
            self.stopping = True

    def live(self) -> int:
        newest = next(iter(checkpoints(self.store, self.run_id)), None)
        write_restored(self.store, self.claim, newest)
        step = newest.step if newest else 0
        if newest:
            self.notify("info", f"attempt {self.claim.number} continues from step {step}")
        self.notify("warning", f"attempt {self.claim.number} is a stand-in")
        self.say("warning: a library's own")
        self.say(f"HOME is {os.environ.get('HOME')}, TOKEN has {len(os.environ.get('TOKEN', ''))} letters")
        while True:
            self.beat(step)
            if self.stopping:
                self.save(step)
                return self.end(75, "interrupted", "told to stop")
            if self.is_cancelled():
                self.result("cancelled", step)
                return self.end(1, "cancelled", "cancelled")
            if is_cancel_requested(self.store, self.run_id, reopened=self.reopened, keep_model=True):
                return self.finish(step, "cancelled")
            if step >= self.at and self.verb != "finish":
                return self.do(step)
            if step >= STEPS:
                return self.finish(step)
            step += 1
            time.sleep(float(self.plan.get("pace", 0.02)))
            self.say(f"step {step}")
            record = {"kind": "train", "stage": "sft", "step": step, "loss": 3.0 / step, "learning_rate": 1e-3}
            self.metrics.append(json.dumps(record) + "\n")
            self.metrics.flush()
            if step % 2 == 0:
                self.save(step)

    def do(self, step: int) -> int:
        if self.verb == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.verb == "interrupt":
            return self.end(75, "interrupted", "preempted")
        if self.verb == "outside":
            return self.end(75, "interrupted", "a service does not answer", outside=True)
        if self.verb == "stop":
            return self.end(75, "interrupted", "the disk is full", retry=False)
        if self.verb == "hang":
            while not self.is_cancelled() or self.plan.get("deaf"):
                time.sleep(0.05)
            self.result("cancelled", step)
            return self.end(1, "cancelled", "cancelled")
        for line in range(30):
            self.say(f"traceback line {line}")
        self.result("failed", step)
        return self.end(2 if self.verb == "mistake" else 1, "failed", "it could not be done", retry=False)

    def finish(self, step: int, state: str = "succeeded") -> int:
        with TemporaryDirectory() as folder:
            model = Path(folder) / "model.safetensors"
            model.write_bytes(b"weights" * 1000)
            config = Path(folder) / "config.json"
            config.write_text("{}")
            prefix = artifact_prefix(self.run_id, "model", self.claim.token)
            commit(self.store, prefix, {"model.safetensors": model, "extra/config.json": config}, {"step": step})
        self.result(state, step, artifacts={"model": f"artifacts/model/{self.claim.token}/"})
        return self.end(int(state != "succeeded"), state, "done", retry=False)

    def save(self, step: int) -> None:
        with TemporaryDirectory() as folder:
            state = Path(folder) / "state"
            state.write_text(str(step))
            name = CheckpointName("sft", step, self.claim.token)
            held = [known.step for known in checkpoints(self.store, self.run_id)]
            if step and step not in held:
                commit(self.store, checkpoint_prefix(self.run_id, name), {"state": state}, {"step": step})

    def beat(self, step: int) -> None:
        record = {"phase": "training", "step": step, "max_steps": STEPS, "loss": 3.0 / max(step, 1)}
        record |= {"tokens_per_second": 1234.5, "eta_seconds": 1.0, "checkpoint_step": step // 2 * 2 or None}
        write_heartbeat(self.store, self.claim, record)
        self.log.flush()

    def say(self, line: str) -> None:
        print(line, flush=True)
        self.log.append(line + "\n")

    def is_cancelled(self) -> bool:
        return is_cancel_requested(self.store, self.run_id, reopened=self.reopened)

    def notify(self, level: str, text: str) -> None:
        self.notices.write(level, text)
        self.say(str(Notice(level, text)))

    def result(self, state: str, step: int, **more: object) -> None:
        record = {
            "state": state,
            "reason": None if state == "succeeded" else f"{state} by the stand-in",
            "ended_at": "2026-01-01T00:01:00+00:00",
            "attempts": self.claim.number,
            "step": step,
            "max_steps": STEPS,
            "before": {"eval_loss": 4.0, "perplexity": 54.6, "samples_per_second": 10.0},
            "after": {"eval_loss": 2.0, "perplexity": 7.39, "samples_per_second": 11.0},
            "generations": [{"prompt": "Return the", "before": "xx", "after": "list of keys"}],
            "best": None,
            "artifacts": {},
            **more,
        }
        write_result(self.store, self.run_id, record, reopened=self.reopened)

    def end(self, code: int, outcome: str, reason: str, *, retry: bool = True, **more: bool) -> int:
        self.log.flush(final=True)
        record = {"ended_at": "2026-01-01T00:01:00+00:00", "exit_code": code, "outcome": outcome}
        write_ended(self.store, self.claim, {**record, "reason": reason, "retry": retry, **more})
        self.worker.kill()
        self.worker.wait()
        return code


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--parent", type=int)
    options = parser.parse_args()
    if options.parent is not None:
        die_with_parent(options.parent)
    return Life(open_store(options.store), options.run, options.work_dir).live()


if __name__ == "__main__":
    sys.exit(main())
