"""Fixtures of the storage tests."""

import pytest
from memory_store import MemoryStore


@pytest.fixture
def memory() -> MemoryStore:
    """A fresh, empty store in memory."""
    return MemoryStore()
