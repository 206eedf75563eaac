"""Fixtures of the tests of runs in a store."""

from support.bench import bench
from support.fakes.memory_store import memory

__all__ = ["bench", "memory"]
