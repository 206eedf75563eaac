"""Fixtures for the engine's tests."""

from launch.bench import bench

__all__ = ["bench"]
