"""Fixtures of the tests of names that come from a store."""

from support.bench import bench

__all__ = ["bench"]
