"""Fixtures for all tests."""

pytest_plugins = ["servers.plugin"]
