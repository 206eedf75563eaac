"""Fixtures of the tests in this folder."""

from support.recipes import check, refuse

__all__ = ["check", "refuse"]
