"""Fixtures of the tests of sweeps."""

from support.bench import bench
from support.fakes.memory_store import memory

__all__ = ["bench", "memory"]
