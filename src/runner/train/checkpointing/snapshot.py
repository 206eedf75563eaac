"""Copies of a training state, taken during the next forward and backward pass.

Weights and optimizer state change in one place only, `optimizer.step()`. So after a step they can be copied while the
next step's forward and backward passes run, and training waits only if the copy is not done when the next update is
due (the pipelining of CheckFreq, Mohan et al., FAST 2021). On a GPU the copies go to pinned memory on a stream of their
own, and the wait is the GPU's, not Python's.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch


class _TensorName:
    """A placeholder in a state tree for the tensor of this name."""

    def __init__(self, name: str) -> None:
        self.name = name


def placeholder(name: str) -> Any:
    """Return the placeholder for the tensor `name` in a state tree."""
    return _TensorName(name)


def take_tensors(tree: Any, prefix: str, tensors: dict[str, torch.Tensor]) -> Any:
    """Move each tensor of `tree` (dicts, lists, tuples) into `tensors`; return a copy with placeholders instead."""
    if isinstance(tree, torch.Tensor):
        tensors[prefix] = tree
        return _TensorName(prefix)
    if isinstance(tree, dict):
        return {key: take_tensors(value, f"{prefix}/{key}", tensors) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(take_tensors(value, f"{prefix}/{index}", tensors) for index, value in enumerate(tree))
    return tree


def put_tensors(tree: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """Return a copy of `tree` with each placeholder replaced by its tensor: the inverse of `take_tensors`."""
    if isinstance(tree, _TensorName):
        return tensors[tree.name]
    if isinstance(tree, dict):
        return {key: put_tensors(value, tensors) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(put_tensors(value, tensors) for value in tree)
    return tree


class Snapshot:
    """One set of buffers in main memory, as large as the state, reused for every checkpoint.

    The life of one copy: `begin` (training thread, returns at once), `wait_before_update` (training thread, called by
    the optimizer's hook), `tensors` (staging thread, waits for the copy), `release` (staging thread, when the files are
    written). `begin` waits for the `release` of the copy before.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, torch.Tensor] = {}
        self._free = threading.Event()
        self._free.set()
        self._copied = threading.Event()
        self._copied.set()
        self._failure: BaseException | None = None
        self._on_gpu: torch.cuda.Event | None = None
        self._stream: torch.cuda.Stream | None = None
        self.waited_seconds = 0.0
        """How long updates have waited for copies, in total."""

    def begin(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Start copying. The tensors must not change until `wait_before_update` has returned."""
        self._free.wait()
        self._free.clear()
        self._copied.clear()
        self._failure = None
        self._on_gpu = None
        device = next((tensor.device for tensor in tensors.values() if tensor.is_cuda), None)
        work: Callable[[], None]
        if device is None:
            work = lambda: self._copy(tensors)  # noqa: E731 (one line says it)
        else:
            if self._stream is None:
                self._stream = torch.cuda.Stream(device)
            self._stream.wait_stream(torch.cuda.current_stream(device))
            work = lambda: self._copy_from_gpu(tensors)  # noqa: E731
        threading.Thread(target=self._run, args=(work,), name="snapshot", daemon=True).start()

    def wait_before_update(self) -> None:
        """Return when the weights may change again. Costs nothing when no copy is running."""
        if self._copied.is_set() and self._on_gpu is None:
            return
        began = time.perf_counter()
        self._copied.wait()
        if self._on_gpu is not None:
            torch.cuda.current_stream().wait_event(self._on_gpu)
            self._on_gpu = None
        self.waited_seconds += time.perf_counter() - began

    def tensors(self) -> dict[str, torch.Tensor]:
        """Wait until the copies are complete, and return them.

        Raises:
            RuntimeError: the copy failed, for example because main memory ran out.
        """
        self._copied.wait()
        if self._failure is not None:
            raise RuntimeError(f"the training state could not be copied: {self._failure}") from self._failure
        if self._stream is not None:
            self._stream.synchronize()
        return self._buffers

    def release(self) -> None:
        """Give the copies up: the next `begin` may overwrite them."""
        self._free.set()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 (handed to the thread that asks for the copy)
            self._failure = error
        finally:
            self._copied.set()

    def _copy(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._fit_buffers(tensors)
        with torch.no_grad():
            for name, tensor in tensors.items():
                self._buffers[name].copy_(tensor)

    def _copy_from_gpu(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._fit_buffers(tensors)
        with torch.no_grad(), torch.cuda.stream(self._stream):
            for name, tensor in tensors.items():
                self._buffers[name].copy_(tensor, non_blocking=True)
            done = torch.cuda.Event()
            done.record(self._stream)
        self._on_gpu = done

    def _fit_buffers(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Keep the buffers that fit and make the others: fresh memory is slow to write, so old memory is reused."""
        for name in self._buffers.keys() - tensors.keys():
            del self._buffers[name]
        for name, tensor in tensors.items():
            buffer = self._buffers.get(name)
            if buffer is None or buffer.shape != tensor.shape or buffer.dtype != tensor.dtype:
                self._buffers[name] = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
