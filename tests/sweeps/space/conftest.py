"""Fixtures of the tests in this folder."""

from pathlib import Path

import pytest

from support.sweeping.files import SweepFiles


@pytest.fixture
def files(tmp_path: Path) -> SweepFiles:
    """A folder with a small recipe, in which sweeps are loaded."""
    return SweepFiles(tmp_path)
