"""Fixtures of the command line"s tests."""

from support.bench import bench

__all__ = ["bench"]
