"""Fixtures of the storage tests."""

from support.memory_store import memory

__all__ = ["memory"]
