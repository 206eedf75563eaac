"""Fixtures of the tests of the operations on sweeps."""

from support.fakes.memory_store import memory

__all__ = ["memory"]
