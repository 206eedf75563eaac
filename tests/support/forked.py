"""Attempts that are forked from a process that has torch imported already, and die at a moment of the test's choice.

Everything but the interpreter's start is the real thing: the attempt's own code in a process of its own, the training
process as its child, real signals. A start costs a fraction of a second this way instead of ten. Clients of object
stores have threads, which do not survive a fork: an attempt at such a store forks its training processes before it
opens the store, and they wait until they are asked for.
"""

import importlib
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

PRELOAD = [
    "runner.train.methods.sft",
    "runner.train.methods.cpt",
    "runner.train.methods.dpo",
    "runner.train.methods.grpo",
    "runner.train.chat.pair",
    "runner.train.entrypoint",
    "runner.train.run_chat",
    "runner.train.run_export",
    "runner.train.worker",
    "support.forked",
]


@dataclass(frozen=True)
class Moment:
    """When a process kills itself: at the `nth` call of `target`, before or after it."""

    target: str
    """``module:function`` or ``module:Class.method``."""
    nth: int = 1
    """Counted from 1."""
    after: bool = False
    """Once the call has returned, instead of before it is made."""
    signal: int = signal.SIGKILL
    """What it is hit with."""
    in_attempt: bool = False
    """In the attempt's own process instead of the training process."""
    rank: int | None = 0
    """In which training process of this machine; None: in all."""
    hits_attempt: bool = False
    """Hit the attempt's process, from inside the training process."""
    saves: int = 0
    """Wait for so many checkpoints of this attempt first: a busy machine uploads them later than an idle one."""

    def __str__(self) -> str:
        name = self.target.split(":")[1]
        return f"{'after' if self.after else 'before'}-{name}-{self.nth}-{signal.Signals(self.signal).name}"

    def arm(self) -> None:
        """Put the trap where it belongs, in this process."""
        module_name, _, path = self.target.partition(":")
        owner: Any = importlib.import_module(module_name)
        *parents, name = path.split(".")
        for parent in parents:
            owner = getattr(owner, parent)
        real = getattr(owner, name)
        calls = 0
        saved = _count_saves() if self.saves else []

        def trapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            mine = calls == self.nth
            while mine and len(saved) < self.saves:
                time.sleep(0.01)
            if mine and not self.after:
                self._strike()
            result = real(*args, **kwargs)
            if mine and self.after:
                self._strike()
            return result

        setattr(owner, name, trapped)

    def _strike(self) -> None:
        os.kill(os.getppid() if self.hits_attempt else os.getpid(), self.signal)
        if self.signal == signal.SIGKILL:
            time.sleep(60)  # another thread than the one that dies first must not go on


def _count_saves() -> list[None]:
    """Return a list that gets an entry with each checkpoint that this process commits."""
    from runner.train.checkpointing import checkpointer

    saved: list[None] = []
    real = checkpointer.commit

    def counted(*args: Any, **kwargs: Any) -> Any:
        result = real(*args, **kwargs)
        saved.append(None)
        return result

    checkpointer.commit = counted  # type: ignore[assignment]
    return saved


@dataclass(frozen=True)
class Removal(Moment):
    """Somebody removes the attempt's folders under it, with a signal or without."""

    signal: int = 0
    """0: it does not hear of it."""
    work: str = ""
    """The run's folder on this machine."""

    def __str__(self) -> str:
        return self.target.split(":")[1]

    def _strike(self) -> None:
        for folder in Path(self.work).glob("attempt-*"):
            while folder.exists():  # another thread may write into it meanwhile
                shutil.rmtree(folder, ignore_errors=True)
        os.kill(os.getpid(), self.signal)


@dataclass(frozen=True)
class Shortage(Moment):
    """Memory for so many samples at a time and no more, from the `nth` micro-batch on; notes what is trained on."""

    samples: int = 8
    """More than these in one micro-batch are too many."""
    record: str | None = None
    """A file that gets each micro-batch's step and rows."""
    kill_at: int | None = None
    """Once micro-batches are small enough: die (`signal`) before this one."""

    def arm(self) -> None:
        """Put the trap into the method, which takes a model and a micro-batch's inputs."""
        import torch

        module_name, _, path = self.target.partition(":")
        owner_name, _, name = path.partition(".")
        owner = getattr(importlib.import_module(module_name), owner_name)
        real = getattr(owner, name)
        calls = 0

        def note(known: dict[str, Any]) -> None:
            if self.record is not None:
                with Path(self.record).open("a") as file:
                    file.write(json.dumps(known) + "\n")

        note({"step": None})  # an attempt begins

        def trapped(trainer: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            if not torch.is_grad_enabled():  # an evaluation
                return real(trainer, model, inputs, *args, **kwargs)
            calls += 1
            fits = trainer.args.per_device_train_batch_size <= self.samples
            if calls >= self.nth and not fits:
                raise torch.OutOfMemoryError(
                    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 14.56 GiB of which "
                    "1.21 GiB is free. See documentation for Memory Management"
                )
            if fits and calls == self.kill_at:
                self._strike()
            tokens = [inputs[key] for key in ("input_ids", "prompt_ids", "completion_ids") if key in inputs]
            rows = torch.cat(tokens, dim=1).tolist()
            texts = [trainer.processing_class.decode(row, skip_special_tokens=True) for row in rows]
            note({"step": trainer.state.global_step + 1, "rows": texts})
            return real(trainer, model, inputs, *args, **kwargs)

        setattr(owner, name, trapped)


class ForkedWorker:
    """What `subprocess.Popen` gives, for a child that was forked."""

    def __init__(self, run: Callable[[], int]) -> None:
        stdin_read, stdin_write = os.pipe()
        stdout_read, stdout_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.setpgid(0, 0)
            os.dup2(stdin_read, 0)
            os.dup2(stdout_write, 1)
            os.dup2(stdout_write, 2)
            for descriptor in (stdin_read, stdin_write, stdout_read, stdout_write):
                os.close(descriptor)
            sys.stdin = open(0, closefd=False)
            sys.stdout = open(1, "w", buffering=1, closefd=False)
            sys.stderr = open(2, "w", buffering=1, closefd=False)
            code = 70
            try:
                code = run()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        os.close(stdin_read)
        os.close(stdout_write)
        self.stdin = os.fdopen(stdin_write, "wb", buffering=0)
        self.stdout = os.fdopen(stdout_read, "rb")
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it lives."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("worker", timeout or 0)
            time.sleep(0.01)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Hit it."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


class Spare:
    """A training process that was forked early, and waits until it is asked to train.

    Args:
        train: takes the arguments of `runner.train.worker` and returns the exit code.
    """

    def __init__(self, train: Callable[[Sequence[str]], int]) -> None:
        self._train = train
        self._ours, self._its = socket.socketpair()
        self.process = ForkedWorker(self._wait)
        self._its.close()

    def _wait(self) -> int:
        """Run in the forked process: wait for arguments and train; end if the attempt has ended without asking."""
        self._ours.close()
        message, descriptors, _, _ = socket.recv_fds(self._its, 1 << 16, maxfds=1)
        if not message:
            return 0
        arguments: list[str] = json.loads(message)
        arguments[arguments.index("--events") + 1] = str(descriptors[0])
        return self._train(arguments)

    def start(self, arguments: Sequence[str], events: int) -> ForkedWorker:
        """Have it train with these arguments, and report through this file descriptor."""
        socket.send_fds(self._ours, [json.dumps(list(arguments)).encode()], [events])
        self._ours.close()
        return self.process


def _live(
    store_url: str,
    run_id: str,
    work_dir: str,
    moment: Moment | None,
    log: str,
    environment: dict[str, str],
    patience: float,
    until_step: int | None,
    schedule_steps: int | None,
) -> None:
    """The attempt's process."""
    os.environ.update(environment)
    from runner.storage.open import open_store
    from runner.train import entrypoint
    from runner.train.agent.log import set_up_logging
    from runner.train.agent.timing import Timing

    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout = open(1, "w", buffering=1, closefd=False)
    sys.stderr = open(2, "w", buffering=1, closefd=False)
    spares = []
    if not survives_fork(store_url):
        count = int(environment.get("RUNNER_PROCESSES", "1"))
        spares = [Spare(lambda arguments: _train(arguments, moment)) for _ in range(count)]
    if moment is not None and moment.in_attempt:
        moment.arm()

    def spawn(arguments: Sequence[str], events: int) -> Any:
        if survives_fork(store_url):
            return ForkedWorker(lambda: _train(arguments, moment))
        return spares.pop(0).start(arguments, events)

    set_up_logging()
    timing = Timing(beat=0.1, look=0.1, upload=15.0, store=patience, finish=patience)
    code = entrypoint.run_attempt(
        open_store(store_url),
        run_id,
        Path(work_dir),
        spawn=spawn,
        timing=timing,
        until_step=until_step,
        schedule_steps=schedule_steps,
    )
    sys.stdout.flush()
    os._exit(code)


def _train(arguments: Sequence[str], moment: Moment | None) -> int:
    """The training process, forked."""
    import torch

    from runner.train import worker

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    multiprocessing.set_start_method("fork", force=True)  # Linux's default, which the server of forks has changed here
    torch.set_num_threads(1)
    local_rank = int(arguments[arguments.index("--local-rank") + 1])
    if moment is not None and not moment.in_attempt and moment.rank in (None, local_rank):
        moment.arm()
    return worker.main(arguments)


def run_program(
    module: str, *arguments: str, said: str = "", environment: dict[str, str] | None = None, seconds: float = 900
) -> "subprocess.CompletedProcess[str]":
    """Run the `main` of a module in a forked process, as ``python -m module`` would.

    Args:
        said: its standard input.
        environment: variables besides this process's.
    """
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "stdin").write_text(said)
        variables = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
        process = context.Process(target=_program, args=(module, arguments, name, variables))
        process.start()
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(module, seconds)
        stdout, stderr = ((folder / stream).read_text() for stream in ("stdout", "stderr"))
    return subprocess.CompletedProcess([module, *arguments], process.exitcode, stdout, stderr)


def _program(module: str, arguments: Sequence[str], folder: str, environment: dict[str, str]) -> None:
    """Be that program, with its standard streams in a folder's files."""
    import torch

    os.environ.update(environment)
    os.setsid()
    for number, (name, flags) in enumerate(
        {"stdin": os.O_RDONLY, "stdout": os.O_WRONLY | os.O_CREAT, "stderr": os.O_WRONLY | os.O_CREAT}.items()
    ):
        os.dup2(os.open(Path(folder, name), flags), number)
    sys.stdin = open(0, closefd=False)
    sys.stdout = open(1, "w", closefd=False)
    sys.stderr = open(2, "w", buffering=1, closefd=False)
    torch.set_num_threads(1)
    code = 1
    try:
        code = importlib.import_module(module).main(list(arguments))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def survives_fork(store_url: str) -> bool:
    """Whether a client of that store may be forked: a folder's has no threads."""
    return "://" not in store_url


class Attempts:
    """Starts attempts at runs in one store."""

    def __init__(self, store_url: str, folder: Path, environment: dict[str, str] | None = None) -> None:
        self._context: Any = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOAD)
        self.store_url = store_url
        # Else accelerate gives each process a share of the cores, and another number of threads sums in another order.
        self._environment = {"XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1", **(environment or {})}
        self.folder = folder

    def start(
        self,
        run_id: str,
        moment: Moment | None = None,
        *,
        patience_seconds: float = 120.0,
        until_step: int | None = None,
        schedule_steps: int | None = None,
    ) -> Any:
        """Start an attempt that waits for an absent store so long, and pauses at a step; returns its process."""
        log = str(self.folder / f"{run_id}.log")
        work_dir = str(self.folder / "work" / run_id)
        place = (self.store_url, run_id, work_dir, moment, log, self._environment)
        arguments = (*place, patience_seconds, until_step, schedule_steps)
        process = self._context.Process(target=_live, args=arguments)
        process.start()
        return process

    def run(
        self,
        run_id: str,
        moment: Moment | None = None,
        *,
        seconds: float = 900,
        until_step: int | None = None,
        schedule_steps: int | None = None,
    ) -> int:
        """Make one attempt, to the end or to a step; returns its exit code, negative if a signal ended it."""
        process = self.start(run_id, moment, until_step=until_step, schedule_steps=schedule_steps)
        process.join(seconds)
        assert process.exitcode is not None, f"the attempt hangs; its log: {self.log(run_id)[-2000:]}"
        return int(process.exitcode)

    def log(self, run_id: str) -> str:
        """What the attempts at a run have printed."""
        return (self.folder / f"{run_id}.log").read_text()

    def run_to_the_end(self, run_id: str) -> None:
        """Make attempts until one of them has succeeded."""
        for _ in range(4):
            code = self.run(run_id)
            if code == 0:
                return
            assert code == 75, self.log(run_id)
        raise AssertionError(f"{run_id} does not end: {self.log(run_id)}")
