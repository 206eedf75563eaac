"""Triton is used where it can compile, and nowhere else."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

LOOK = """
from runner.train.agent.log import set_up_logging
set_up_logging()
from runner.train.devices.triton import leave_triton_aside, use_small_tiles
print(leave_triton_aside())
from transformers.utils import is_triton_available
print(is_triton_available())
import torch, trl.kernels.chunked_logprob as kernels
print(kernels._use_triton(torch.device("cuda")))
use_small_tiles()
print(kernels.TOKEN_CHUNK_SIZE)
"""

COUNTER = "import torch; torch.version.cuda = '13.0'; import torch.utils.flop_counter"
"""torch's CUDA build, as far as what is said where Triton is missing goes."""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with a package of Triton's name: on this machine torch may come without it."""
    package = tmp_path / "packages" / "triton"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("jit = lambda function: function\n__version__ = '3.7.1'\n")
    (package / "language.py").write_text("constexpr = float32 = None\n")
    information = tmp_path / "packages" / "triton-3.7.1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: triton\nVersion: 3.7.1\n")
    return package.parent


def looked(installed: Path, path: str) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed), "PATH": path}
    environment.pop("CC", None)
    command = [sys.executable, "-c", LOOK]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_without_a_compiler_neither_transformers_nor_trl_sees_triton(installed: Path, tmp_path: Path) -> None:
    said, *found = looked(installed, str(tmp_path))
    assert "Triton's kernels are not used" in said
    assert found == ["True", "False", "False", "512"]  # tiles whose entries take 31 bytes instead of 2


@pytest.mark.skipif(
    not Path(sysconfig.get_paths()["include"], "Python.h").is_file(), reason="Python's headers are not installed here"
)
def test_with_a_compiler_it_is_left_alone(installed: Path, tmp_path: Path) -> None:
    compiler = tmp_path / "gcc"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    assert looked(installed, str(tmp_path)) == ["False", "True", "True", "4096"]


def test_where_triton_is_not_installed_nothing_is_said_of_it() -> None:
    """The image has no compiler and so no Triton, and torch's CUDA build warns of that at each start."""
    aside = "from runner.train.devices.triton import leave_triton_aside; assert not leave_triton_aside()"
    hide = "import importlib.util as util; util.find_spec = lambda *_: None; import sys; sys.modules['triton'] = None"
    warned, silent = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
        for code in (f"{hide}; {COUNTER}", f"{hide}; {aside}; {COUNTER}")
    )
    assert "triton not found" in warned
    assert silent == ""
