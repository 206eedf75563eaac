"""Fixtures of the tests in this folder."""

from support.bench import bench

__all__ = ["bench"]
