"""Fixtures for the command line's tests."""

from launch.bench import bench

__all__ = ["bench"]
