"""A process that imports what training needs, once, and is then forked for each trial of a sweep's worker.

``python -m runner.train.warm_server --control FD --parent PID [--method METHOD …]``

Nothing of it may be left in a trial but imported modules: no thread of Python's, no OpenMP thread, nothing of CUDA (a
driver that was initialized before a fork is of no use after it). So a trial computes what it would in a process of its
own, which the tests hold it to, bit for bit.
"""

import argparse
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec

from runner.errors import UserError
from runner.process import die_with_parent
from runner.train.agent.warm.processes import READY
from runner.train.builtin.catalog import builtin_dataset
from runner.train.builtin.docstrings import sources_digest
from runner.train.devices.triton import leave_triton_aside
from runner.train.loggers.libraries import quiet_libraries

METHODS = ("sft",)

_MODULES = (
    "runner.train.worker",
    "runner.train.checkpointing.checkpointer",
    "runner.train.devices.distributed",
    "runner.train.loggers.metrics_writer",
    "runner.train.stages.run",
    "runner.train.stages.steps",
)
"""What every training process imports, in its order."""

_FIRST_USED = (
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama",
    "transformers.models.qwen3.modeling_qwen3",
    "peft.utils.transformers_weight_conversion",
    "torch.optim",
    "torch.utils.serialization",
)
"""What libraries import when they are used first."""

_CONTROL_BYTES = 1 << 16


def main(arguments: Sequence[str] | None = None) -> int:
    """Import, say so, and fork whenever asked; return when the other end of the socket is closed."""
    parser = argparse.ArgumentParser(prog="python -m runner.train.warm_server")
    parser.add_argument("--control", type=int, required=True, help="file descriptor of a socket to the agent")
    parser.add_argument("--parent", type=int, required=True, help="process id of the agent, to die with")
    parser.add_argument("--method", action="append", default=[], help="import this method's script too")
    parser.add_argument("--builtin", action="append", default=[], help="make the rows of this built-in data set")
    options = parser.parse_args(arguments)
    die_with_parent(options.parent)
    control = socket.socket(fileno=options.control)
    import_everything(options.method or METHODS)
    for path in options.builtin:
        with suppress(UserError):  # the trial says so
            builtin_dataset(path, where="data")
    sources_digest()
    if (reason := why_no_fork()) is not None:
        print(f"error: a process with {reason} cannot be forked", file=sys.stderr, flush=True)
        return 1
    gc.collect()
    gc.freeze()  # what is imported stays, and is not looked at again: its pages stay shared with the trials
    control.send(READY)
    _serve(control)
    return 0


def import_everything(methods: Sequence[str]) -> None:
    """Import what a training process of these methods does, in its order. What is not installed is left out."""
    leave_triton_aside()
    quiet_libraries()
    # torch asks NVML, and not the driver, whether there is a GPU: asking the driver would initialize it.
    asks_driver = "PYTORCH_NVML_BASED_CUDA_CHECK" not in os.environ
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    try:
        for name in (*_MODULES, *(f"runner.train.methods.{method}" for method in methods), *_FIRST_USED):
            with suppress(ImportError):
                importlib.import_module(name)
        _import_deepspeed()
    finally:
        if asks_driver:
            del os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"]


def _import_deepspeed() -> None:
    """Import what accelerate imports wherever it is installed, but not where it would look for a GPU's features."""
    import torch

    if not torch.cuda.is_available() and find_spec("deepspeed") is not None:
        chosen = os.environ.get("DS_ACCELERATOR")
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # as `init_distributed` does
        importlib.import_module("deepspeed")
        if chosen is None:
            del os.environ["DS_ACCELERATOR"]


def why_no_fork() -> str | None:
    """Return what this process has that would be of no use in a fork; None if it can be forked."""
    if threading.active_count() > 1:
        return f"threads ({', '.join(thread.name for thread in threading.enumerate())})"
    torch = sys.modules.get("torch")
    return "an initialized GPU" if torch is not None and torch.cuda.is_initialized() else None


def _serve(control: socket.socket) -> None:
    wake_read, wake_write = os.pipe()
    for descriptor in (wake_read, wake_write):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # any handler has the kernel write to the descriptor
    server, children = os.getpid(), dict[int, int]()
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(wake_read, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if wake_read in ready:
                with suppress(BlockingIOError):
                    os.read(wake_read, 4096)
                _reap(children)
            if control not in ready:
                continue
            message, descriptors, _, _ = socket.recv_fds(control, _CONTROL_BYTES, maxfds=4)
            if not message:
                return
            stdin, stdout, events, status = descriptors
            pid = os.fork()
            if pid == 0:
                selector.close()
                for descriptor in (control.detach(), wake_read, wake_write, status, *children.values()):
                    os.close(descriptor)
                request = json.loads(message)
                _change_environment(request["environment"])
                _train(request["arguments"], stdin=stdin, stdout=stdout, events=events, server=server)
            with suppress(ProcessLookupError, PermissionError):
                os.setpgid(pid, pid)  # here and there: whoever comes first
            for descriptor in (stdin, stdout, events):
                os.close(descriptor)
            children[pid] = status
            _tell(status, f"{pid:<32}")


def _change_environment(changes: Mapping[str, str | None]) -> None:
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _reap(children: dict[int, int]) -> None:
    """Pass on how the children that have ended did."""
    for pid in list(children):
        ended, state = os.waitpid(pid, os.WNOHANG)
        if ended:
            status = children.pop(pid)
            _tell(status, f"{os.waitstatus_to_exitcode(state)}\n")
            os.close(status)


def _tell(status: int, text: str) -> None:
    with suppress(BrokenPipeError):
        os.write(status, text.encode())


def _train(arguments: list[str], *, stdin: int, stdout: int, events: int, server: int) -> None:
    """In the forked process: be `runner.train.worker`, and end."""
    code = 1
    try:
        with suppress(PermissionError):
            os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor, number in ((stdin, 0), (stdout, 1), (stdout, 2)):
            os.dup2(descriptor, number)
        for descriptor in (stdin, stdout):
            os.close(descriptor)
        for option, value in (("--events", events), ("--parent", server)):
            arguments[arguments.index(option) + 1] = str(value)
        _be_like_a_fresh_process()
        from runner.train import worker

        sys.argv = [worker.__file__, *arguments]
        code = worker.main(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 (nothing above may see it: this is a fork)
        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _be_like_a_fresh_process() -> None:
    """Give up what forks share by chance: Python's `random` sees to itself, NumPy's generator does not."""
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()


if __name__ == "__main__":
    sys.exit(main())
