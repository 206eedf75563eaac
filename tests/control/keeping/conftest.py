"""Fixtures of the tests of the operations on runs."""

from support.bench import bench

__all__ = ["bench"]
