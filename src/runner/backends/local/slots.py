"""The workers of a sweep on one machine: a process for each slot, which is some of its GPUs, a share of one, or none.

``python -m runner.backends.local.slots --store URL --sweep SWEEP --work-dir DIR --logs DIR`` starts them and ends with
the last of them: on this machine, and in a task that gives several trials to one machine. It passes SIGTERM and SIGINT
on, and starts a worker that was killed again. When it dies, for whatever reason, its workers die with it.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runner.backends.workers import WORKER
from runner.errors import UserError
from runner.exit_codes import FAILED, INTERRUPTED, MISTAKE, SUCCEEDED
from runner.paths import make_folder
from runner.process import die_with_parent, die_with_stdin
from runner.runs.records import utc_now
from runner.sweeps.layout import SLOTS_VARIABLE

DEVICES = "CUDA_VISIBLE_DEVICES"

_RESTARTS = 5
"""How often a worker that was killed is started again; more than that is no accident."""

_POLL_SECONDS = 0.1

_TIED = (
    "import os, sys; from runner.process import die_with_parent; die_with_parent(int(sys.argv[1])); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
)
"""Becomes another program that is killed when this process dies: the kernel keeps that across `exec`."""


@dataclass(frozen=True, kw_only=True)
class Slot:
    """What one worker gets of a machine."""

    number: int
    """From 0."""
    devices: tuple[str, ...] | None
    """Its GPUs, as ``CUDA_VISIBLE_DEVICES`` names them; None on a machine without."""

    def environment(self, slots: int, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of its worker: its GPUs, and its share of the processors.

        Args:
            slots: how many there are.
            environ: variables that all workers get.
        """
        threads = {"OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) // slots))} if slots > 1 else {}
        devices = {} if self.devices is None else {DEVICES: ",".join(self.devices)}
        return {**threads, **environ, **devices, SLOTS_VARIABLE: str(slots)}


def find_devices(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return this machine's GPUs, as `DEVICES` names them: those that it lists, or else all of ``nvidia-smi -L``."""
    if DEVICES in environ:
        return [name.strip() for name in environ[DEVICES].split(",") if name.strip() not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = listed.stdout.splitlines() if listed.returncode == 0 else []
    return [str(index) for index, _ in enumerate(line for line in lines if line.startswith("GPU "))]


def make_slots(
    devices: Sequence[str], *, workers: int | None = None, gpus_per_trial: int | None = None, trials_per_gpu: int = 1
) -> list[Slot]:
    """Split a machine. Pure.

    Args:
        devices: its GPUs; none: a slot is a share of the processors.
        workers: how many slots there are to be; None for what the GPUs give, or one on a machine without.
        gpus_per_trial: GPUs of a slot; None for one.
        trials_per_gpu: slots that share the same GPUs.

    Raises:
        UserError: there are fewer GPUs than that.
    """
    if workers is not None and workers < 1:
        raise UserError(f"{workers} workers cannot take a trial", remedy="ask for one or more")
    if not devices:
        if (gpus_per_trial or 0) > 0:
            raise UserError("this machine has no GPU", where="gpus_per_trial", remedy="leave it out")
        return [Slot(number=number, devices=None) for number in range(workers or trials_per_gpu)]
    size = gpus_per_trial or 1
    if size > 1 and trials_per_gpu > 1:
        remedy = "leave one of the two out"
        raise UserError("a trial has several GPUs, or several trials share one", where="trials_per_gpu", remedy=remedy)
    groups = [tuple(devices[at : at + size]) for at in range(0, len(devices) - size + 1, size)]
    if not groups:
        raise UserError(f"this machine has {len(devices)} GPUs, and a trial needs {size}", where="gpus_per_trial")
    # Each GPU gets its first trial before any gets its second.
    shared = [group for _ in range(trials_per_gpu) for group in groups]
    if workers is not None and workers > len(shared):
        raise UserError(
            f"this machine has room for {len(shared)} workers, not for {workers}",
            where="parallel",
            remedy="ask for fewer, or let more trials share a GPU with `trials_per_gpu`",
        )
    return [Slot(number=number, devices=group) for number, group in enumerate(shared[: workers or len(shared)])]


@dataclass(frozen=True, kw_only=True)
class SlotCommand:
    """How the worker of a slot is started."""

    store_url: str
    """Where the sweep lives."""
    sweep_id: str
    """The sweep."""
    work_dir: Path
    """Each worker has a folder below it."""
    module: str = WORKER
    """The program."""
    arguments: Sequence[str] = ()
    """Further ones of its arguments."""
    prefix: str = ""
    """What the workers' names begin with; empty for the name that a worker gives itself."""

    def of(self, slot: Slot) -> list[str]:
        """Return the command line of a slot's worker."""
        named = ["--worker", f"{self.prefix}-{slot.number}"] if self.prefix else []
        work = str(self.work_dir / f"slot-{slot.number}")
        base = ["--store", self.store_url, "--sweep", self.sweep_id, "--work-dir", work]
        # -P: a `datasets.py` in the working directory must not be taken for the library.
        program = ["-P", "-m", self.module, *base, *named, *self.arguments]
        return [sys.executable, "-P", "-c", _TIED, str(os.getpid()), *program]


@dataclass
class _Running:
    slot: Slot
    process: "subprocess.Popen[bytes]"
    restarts: int = 0
    exit_code: int | None = None


@dataclass(kw_only=True)
class Slots:
    """The workers of one machine, from their start to the end of the last one."""

    slots: Sequence[Slot]
    command: SlotCommand
    logs: Path
    """The folder of what they print: ``slot-<n>.log``."""
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    _running: list[_Running] = field(default_factory=list)
    _stopping: bool = False

    def run(self) -> int:
        """Start the workers and wait for their end.

        Returns:
            0: there was nothing left to do; 75: they were told to stop; 2 and 1: what the first worker that failed
            ended with.
        """
        make_folder(self.logs)
        for slot in self.slots:
            self._running.append(_Running(slot, self._start(slot)))
        while any(running.exit_code is None for running in self._running):
            for running in self._running:
                self._look_at(running)
            time.sleep(_POLL_SECONDS)
        codes = [running.exit_code for running in self._running]
        failed = [code for code in codes if code not in (SUCCEEDED, INTERRUPTED)]
        if failed:
            return MISTAKE if failed[0] == MISTAKE else FAILED
        return INTERRUPTED if self._stopping or INTERRUPTED in codes else SUCCEEDED

    def stop(self) -> None:
        """Tell the workers to save and end; a second time, kill them."""
        again, self._stopping = self._stopping, True
        for running in self._running:
            if running.process.poll() is None:
                running.process.kill() if again else running.process.terminate()

    def _look_at(self, running: _Running) -> None:
        code = running.process.poll()
        if running.exit_code is not None or code is None:
            return
        if code < 0 and not self._stopping and running.restarts < _RESTARTS:
            running.restarts += 1
            print(utc_now(), f"worker {running.slot.number} was killed (signal {-code}): starting it again", flush=True)
            running.process = self._start(running.slot)
            return
        print(utc_now(), f"worker {running.slot.number} ended with {code}", flush=True)
        running.exit_code = code

    def _start(self, slot: Slot) -> "subprocess.Popen[bytes]":
        with (self.logs / f"slot-{slot.number}.log").open("ab") as log:
            return subprocess.Popen(
                self.command.of(slot),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=slot.environment(len(self.slots), self.environ),
                start_new_session=True,  # a Ctrl-C of the terminal, which goes to a whole group, must not come twice
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Start the workers of this machine, and return when the last one has ended."""
    parser = argparse.ArgumentParser(prog="python -m runner.backends.local.slots")
    parser.add_argument("--store", required=True, help="URL of the store")
    parser.add_argument("--sweep", required=True, help="id of the sweep")
    parser.add_argument("--work-dir", type=Path, required=True, help="a local folder of the workers' own")
    parser.add_argument("--logs", type=Path, required=True, help="the folder for what they print")
    parser.add_argument("--workers", type=int, help="how many; by default what the GPUs give")
    parser.add_argument("--gpus-per-trial", type=int, help="GPUs of a worker")
    parser.add_argument("--trials-per-gpu", type=int, default=1, help="workers that share a GPU")
    parser.add_argument("--idle-minutes", type=float, help="after which a worker without a trial ends")
    parser.add_argument("--prefix", default="", help="what the workers' names begin with")
    parser.add_argument("--parent", type=int, help="process id of the process to die with")
    parser.add_argument("--until-stdin-closes", action="store_true", help="die when standard input ends")
    parser.add_argument("--module", default=WORKER)
    options = parser.parse_args(arguments)
    if options.parent is not None:
        die_with_parent(options.parent)
    if options.until_stdin_closes:
        die_with_stdin()
    try:
        slots = make_slots(
            find_devices(),
            workers=options.workers,
            gpus_per_trial=options.gpus_per_trial,
            trials_per_gpu=options.trials_per_gpu,
        )
    except UserError as error:
        print(error, file=sys.stderr, flush=True)
        return MISTAKE
    idle = [] if options.idle_minutes is None else ["--idle-minutes", f"{options.idle_minutes:g}"]
    command = SlotCommand(
        store_url=options.store,
        sweep_id=options.sweep,
        work_dir=options.work_dir,
        module=options.module,
        arguments=idle,
        prefix=options.prefix,
    )
    workers = Slots(slots=slots, command=command, logs=options.logs)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: workers.stop())
    return workers.run()


if __name__ == "__main__":
    sys.exit(main())
