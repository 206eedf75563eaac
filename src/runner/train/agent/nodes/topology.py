"""This machine among those of one launch, and how many training processes it runs.

SkyPilot sets ``SKYPILOT_NUM_NODES``, ``SKYPILOT_NODE_RANK``, ``SKYPILOT_NODE_IPS`` (one per line, the head's first) and
``SKYPILOT_NUM_GPUS_PER_NODE`` on each of its machines. Without them there is one machine, with all its GPUs.
"""

import re
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.errors import UserError

PROCESSES = "RUNNER_PROCESSES"
"""A variable of ours: training processes on each machine. Default: one for each GPU, or one if there is none."""

_GPUS = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True, kw_only=True)
class Topology:
    """One machine among those of a launch."""

    num_nodes: int = 1
    """How many machines there are."""
    node_rank: int = 0
    """Which one this is; 0 is the head."""
    node_ips: tuple[str, ...] = ("127.0.0.1",)
    """The machines' addresses, in the order of their ranks."""
    processes_per_node: int = 1
    """Training processes on each of them."""

    @property
    def is_head(self) -> bool:
        """Whether this machine claims attempts and records how they end."""
        return self.node_rank == 0

    @property
    def world_size(self) -> int:
        """Training processes in all."""
        return self.num_nodes * self.processes_per_node


def detect_topology(environment: Mapping[str, str], *, use_cpu: bool = False) -> Topology:
    """Return this machine's topology, from the environment and the GPU driver.

    Args:
        environment: the process's variables.
        use_cpu: whether the recipe asks for the CPU.

    Raises:
        UserError: a variable is not a number in its range, or there are fewer addresses than machines.
    """
    nodes = _number(environment, "SKYPILOT_NUM_NODES", 1, least=1)
    rank = _number(environment, "SKYPILOT_NODE_RANK", 0, least=0)
    addresses = tuple(environment.get("SKYPILOT_NODE_IPS", "").split()) or ("127.0.0.1",)
    if len(addresses) < nodes or rank >= nodes:
        raise UserError(
            f"{len(addresses)} addresses and rank {rank} for {nodes} machines",
            where="SKYPILOT_NODE_IPS, SKYPILOT_NODE_RANK, SKYPILOT_NUM_NODES",
        )
    processes = _number(environment, PROCESSES, 0, least=1)
    if not processes and not use_cpu:
        processes = _number(environment, "SKYPILOT_NUM_GPUS_PER_NODE", 0, least=0) or count_gpus(environment)
    return Topology(num_nodes=nodes, node_rank=rank, node_ips=addresses, processes_per_node=processes or 1)


def count_gpus(environment: Mapping[str, str]) -> int:
    """Return how many NVIDIA GPUs a process may use here, without torch, whose import takes seconds.

    They are those of ``CUDA_VISIBLE_DEVICES`` as CUDA reads it (up to the first entry that is not a device), else those
    that ``nvidia-smi -L`` lists, else those of the driver's own folder.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        count = 0
        for entry in visible.split(","):
            if not re.fullmatch(r"\d+|(GPU|MIG)-[\w/-]+", entry.strip()):
                break
            count += 1
        return count
    if not _GPUS.is_dir():
        return 0
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return len(list(_GPUS.iterdir()))
    return sum(line.startswith("GPU ") for line in listed.splitlines())


def free_port(address: str) -> int:
    """Return a TCP port that is free at this machine's `address` (at any address if that is not one of its own)."""
    for host in (address, ""):
        with socket.socket() as probe:
            try:
                probe.bind((host, 0))
            except OSError:
                continue
            port: int = probe.getsockname()[1]
            return port
    raise OSError("no TCP port is free")


def _number(environment: Mapping[str, str], name: str, default: int, *, least: int) -> int:
    text = environment.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or int(text) < least:
        raise UserError(f"{text!r} is not a whole number of at least {least}", where=name)
    return int(text)
