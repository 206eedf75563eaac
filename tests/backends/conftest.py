"""A bench for the tests of what all backends share."""

from support.bench import bench

__all__ = ["bench"]
