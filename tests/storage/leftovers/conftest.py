"""Fixtures of the tests of what is no object."""

from support.bench import bench

__all__ = ["bench"]
