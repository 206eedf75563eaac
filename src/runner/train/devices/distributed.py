"""The training processes of a run: which one this is, and how they decide together.

What depends on one process (a signal, a clock) has to be decided by all of them at the same step, or some would wait in
a collective operation for others that never enter it.
"""

import logging
import os
import socket
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.distributed as dist

from runner.errors import causes

_log = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.1"
_PEER_FAILURES = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Connection refused",
    "Broken pipe",
    "recvValue failed",
    "sendBytes failed",
    "NCCL error",
    "ncclRemoteError",
    "Socket Timeout",
    "Timed out waiting",
    "timed out after",
    "failed to connect",
    "Gloo connectFullMesh failed",
    "gloo/transport",
)
"""Words in the errors of torch, NCCL and gloo when another process has gone."""


@dataclass(frozen=True, kw_only=True)
class ProcessInfo:
    """One training process among all of its run."""

    rank: int = 0
    """Its number among all processes, from 0."""
    world_size: int = 1
    """How many processes there are."""
    local_rank: int = 0
    """Its number among those of its machine, from 0."""

    @property
    def is_main_process(self) -> bool:
        """Whether this process writes what a run has once: metrics, log, manifests, artifacts, the result."""
        return self.rank == 0

    def any_rank(self, *flags: bool) -> tuple[bool, ...]:
        """Return for each flag whether any process has raised it. Called by all processes at the same point."""
        if self.world_size == 1:
            return flags
        raised = torch.tensor([int(flag) for flag in flags], dtype=torch.int32)
        dist.all_reduce(raised, op=dist.ReduceOp.MAX)
        return tuple(bool(flag) for flag in raised.tolist())

    def gather_object(self, value: Any) -> list[Any]:
        """Return each process's value, in the order of ranks, in the main process; an empty list in the others."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.gather_object(value, values if self.is_main_process else None, dst=0)
        return values if self.is_main_process else []

    def broadcast_object(self, value: Any) -> Any:
        """Return the main process's value, in all processes."""
        if self.world_size == 1:
            return value
        values = [value if self.is_main_process else None]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def barrier(self) -> None:
        """Wait until all processes have called this."""
        if self.world_size > 1:
            self.any_rank(True)

    @contextmanager
    def local_main_process_first(self) -> Iterator[bool]:
        """Within, the first process of each machine runs before the others; yield whether this is the first."""
        first = self.local_rank == 0
        if not first:
            self.barrier()
        yield first
        if first:
            self.barrier()


def init_distributed(assignment: Mapping[str, Any], *, local_rank: int, deepspeed: bool) -> ProcessInfo:
    """Join the process group, and set the environment that torch, accelerate and DeepSpeed read.

    Tensors on a GPU go through NCCL, those in main memory through gloo.

    Args:
        assignment: `rank`, `world_size`, `local_world_size`, the machines' `addresses`, the `port` of the first.
        local_rank: this process's number among those of its machine.
        deepspeed: whether DeepSpeed is used, which needs a process group even for a single process.
    """
    rank, world_size = int(assignment["rank"]), int(assignment["world_size"])
    process_info = ProcessInfo(rank=rank, world_size=world_size, local_rank=local_rank)
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # accelerate imports DeepSpeed, which would warn
    if world_size == 1 and not deepspeed:
        return process_info
    one_machine = world_size == int(assignment["local_world_size"])
    address = _LOOPBACK if one_machine else assignment["addresses"][rank // int(assignment["local_world_size"])]
    interface = interface_of(address)
    if interface is not None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
        if interface != "lo":
            os.environ.setdefault("NCCL_SOCKET_IFNAME", interface)
    os.environ.update(
        RANK=str(rank),
        WORLD_SIZE=str(world_size),
        LOCAL_RANK=str(local_rank),
        LOCAL_WORLD_SIZE=str(assignment["local_world_size"]),
        MASTER_ADDR=_LOOPBACK if one_machine else str(assignment["addresses"][0]),
        MASTER_PORT=str(assignment["port"]),
    )
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    elif deepspeed:
        _avoid_shared_memory_allreduce()
    # Others wait while the main process generates, exports or uploads. The agent notices a process that has died.
    timeout = timedelta(hours=12)
    store = _rendezvous(process_info, timeout)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=timeout)
    return process_info


def _rendezvous(process_info: ProcessInfo, timeout: timedelta) -> Any:
    """Return the store that processes find each other in. The first serves it where they are, and nowhere else.

    Left to itself (``env://``), torch listens on all addresses of the machine, and whoever reaches it can write to it.
    """
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    listening = None
    if process_info.is_main_process:
        try:
            listening = socket.create_server((host, port), backlog=1024).detach()
        except OSError:
            if host == _LOOPBACK:
                raise
            # The others' address for this machine is not its own, as behind a NAT: torch listens on all.
            _log.warning("the rendezvous listens on all addresses: %s is not one of this machine's", host)
    store = dist.TCPStore(  # type: ignore[attr-defined] # documented, and exported without `__all__`
        host,
        port,
        process_info.world_size,
        process_info.is_main_process,
        timeout,
        master_listen_fd=listening,
    )
    return dist.PrefixStore("runner", store)  # type: ignore[attr-defined] # as above


def silence_other_ranks(process_info: ProcessInfo) -> None:
    """Let only the main process write to standard output; errors go to standard error in each."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")  # DeepSpeed's calls
    if process_info.is_main_process:
        return
    import datasets
    import transformers

    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 (for the rest of the process's life)


def _avoid_shared_memory_allreduce() -> None:
    """Keep DeepSpeed from compiling its all-reduce through shared memory, which takes a minute; gloo has its own."""
    if find_spec("deepspeed") is None:
        return  # `split_over_processes` reports that it is missing
    from deepspeed.ops import __compatible_ops__ as compatible_ops

    compatible_ops["deepspeed_shm_comm"] = False


def is_peer_failure(error: BaseException | None) -> bool:
    """Whether `error` only says that another process has gone."""
    if not dist.is_initialized():
        return False
    return any(
        isinstance(cause, dist.DistNetworkError | dist.DistBackendError)
        or (isinstance(cause, RuntimeError) and any(words in str(cause) for words in _PEER_FAILURES))
        for cause in causes(error, contexts=True)
    )


def interface_of(address: str) -> str | None:
    """Return the network interface that has an address; None if none has it.

    Left alone, gloo and NCCL take the interface of the host's name, which is the loopback on many machines (Debian's
    ``127.0.1.1``).
    """
    if address.startswith("127."):
        address = "127.0.0.1"  # the loopback interface answers to all of them, and is listed with this one
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address.partition("%")[0] == address for one in addresses):  # fe80::1%eth0
            return str(name)
    return None
