"""Fixtures of the storage tests."""

from support.fakes.memory_store import memory

__all__ = ["memory"]
