"""The other training processes of a run, as each of them sees them: who is first, and what is agreed on together.

What one process alone would decide (a signal that came, a clock) has to be decided by all at the same step, or some
would wait in a collective operation for others that have gone another way.
"""

import fcntl
import os
import socket
import struct
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from runner.errors import causes

_LOST = (
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


@dataclass(frozen=True, kw_only=True)
class ProcessInfo:
    """One training process among those of its run."""

    rank: int = 0
    """Which one it is."""
    world_size: int = 1
    """How many there are."""
    local_rank: int = 0
    """Which one of this machine's it is."""

    @property
    def is_main_process(self) -> bool:
        """Whether it is the one that speaks: metrics, log, manifests, artifacts, the result."""
        return self.rank == 0

    def any_rank(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether any process has raised it. Called by all at the same point."""
        if self.world_size == 1:
            return flags
        raised = torch.tensor([int(flag) for flag in flags], dtype=torch.int32)
        dist.all_reduce(raised, op=dist.ReduceOp.MAX)
        return tuple(bool(flag) for flag in raised.tolist())

    def gather_object(self, value: Any) -> list[Any]:
        """What each process has, in the order of ranks, for the first; the others get an empty list."""
        if self.world_size == 1:
            return [value]
        found: list[Any] = [None] * self.world_size
        dist.gather_object(value, found if self.is_main_process else None, dst=0)
        return found if self.is_main_process else []

    def broadcast_object(self, value: Any) -> Any:
        """What the first process has, for all."""
        if self.world_size == 1:
            return value
        carried = [value if self.is_main_process else None]
        dist.broadcast_object_list(carried, src=0)
        return carried[0]

    def barrier(self) -> None:
        """Go on when all have come here."""
        if self.world_size > 1:
            self.any_rank(True)

    @contextmanager
    def local_main_process_first(self) -> Iterator[bool]:
        """Within, the first process of each machine runs, then the others; yields whether this is the first."""
        first = self.local_rank == 0
        if not first:
            self.barrier()
        yield first
        if first:
            self.barrier()


def init_distributed(told: Mapping[str, Any], *, local_rank: int, deepspeed: bool) -> ProcessInfo:
    """Find the other processes and set up what torch, accelerate and DeepSpeed look for.

    Tensors on a GPU go through NCCL, those in main memory through gloo.

    Args:
        told: `rank`, `world_size`, `local_world_size`, the machines' `addresses`, the `port` that the first listens on.
        local_rank: which process of this machine this is.
        deepspeed: DeepSpeed takes part, which needs all of it also for a single process.
    """
    rank, world_size = int(told["rank"]), int(told["world_size"])
    process_info = ProcessInfo(rank=rank, world_size=world_size, local_rank=local_rank)
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # accelerate imports DeepSpeed, which would warn of it
    if world_size == 1 and not deepspeed:
        return process_info
    address = told["addresses"][rank // int(told["local_world_size"])]
    interface = interface_of(address)
    if interface is not None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
        if interface != "lo":
            os.environ.setdefault("NCCL_SOCKET_IFNAME", interface)
    os.environ.update(
        RANK=str(rank),
        WORLD_SIZE=str(world_size),
        LOCAL_RANK=str(local_rank),
        LOCAL_WORLD_SIZE=str(told["local_world_size"]),
        MASTER_ADDR=str(told["addresses"][0]),
        MASTER_PORT=str(told["port"]),
    )
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    elif deepspeed:
        _spare_the_compiler()
    # Others wait while the first generates, exports or uploads. One that has died is noticed by who started it.
    dist.init_process_group(backend, timeout=timedelta(hours=12))
    return process_info


def silence_other_ranks(process_info: ProcessInfo) -> None:
    """Have what all processes would say be said once; errors are still said by each."""
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


def _spare_the_compiler() -> None:
    """Keep DeepSpeed from compiling its own all-reduce through shared memory, which takes a minute; gloo has one."""
    if find_spec("deepspeed") is None:
        return  # which is said where the strategy is looked at
    from deepspeed.ops import __compatible_ops__ as known

    known["deepspeed_shm_comm"] = False


def is_peer_failure(error: BaseException | None) -> bool:
    """Whether `error` says no more than that another process has gone."""
    if not dist.is_initialized():
        return False
    return any(
        isinstance(cause, dist.DistNetworkError | dist.DistBackendError)
        or (isinstance(cause, RuntimeError) and any(words in str(cause) for words in _LOST))
        for cause in causes(error, contexts=True)
    )


_SIOCGIFADDR = 0x8915


def interface_of(address: str) -> str | None:
    """The network interface that has an IPv4 address; None if none has it.

    gloo and NCCL look for their interface by the host's name, which on many machines (Debian's ``127.0.1.1``) is that
    of the loopback.
    """
    if address.startswith("127."):
        return "lo"
    try:
        wanted = socket.inet_aton(address)
    except OSError:
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                found = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
            except OSError:
                continue
            if found[20:24] == wanted:
                return name
    return None
