"""Fixtures for the recipe's tests."""

from spec.recipes import check, refuse

__all__ = ["check", "refuse"]
