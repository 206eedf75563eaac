"""Fixtures for all tests, and what is skipped where."""

import os
import shutil
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

pytest_plugins = ["support.servers.plugin"]

# The driver's own device; asking torch would mean importing it before any test that needs none.
_NVIDIA = Path("/dev/nvidiactl")


def pytest_configure(config: pytest.Config) -> None:
    """Let Ctrl-C reach what the tests start: a shell starts background jobs deaf to it, and children inherit that."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # The tests do not see what the user has settled for launches, nor what an earlier run of them has.
    own = tempfile.mkdtemp(prefix="runner-tests-config-")
    os.environ["XDG_CONFIG_HOME"] = own
    config.add_cleanup(lambda: shutil.rmtree(own, ignore_errors=True))


def pytest_collection_modifyitems(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """Skip what this machine cannot show, unless it is asked for by its mark (``pytest -m online``)."""
    reasons = {
        "gpu": None if _NVIDIA.exists() else "needs an NVIDIA GPU, and this machine has none",
        "browser": "drives a browser: `make test-browser`",
        "cloud": "needs an account at a cloud: ask for it with `pytest -m cloud`",
        "image": "builds the container image: `make test-image`",
        "slurm": "drives a Slurm of its own: `make test-sky`",
        "online": "needs the internet: ask for it with `pytest -m online`",
    }
    asked = config.option.markexpr
    for item in items:
        for mark, reason in reasons.items():
            if reason is not None and item.get_closest_marker(mark) and mark not in asked:
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was left out."""
    if "not thorough" in config.option.markexpr:
        terminalreporter.write_line("The thorough tests were left out; `make test-all` runs all.")


_WANDB_SETTINGS = {name for name in os.environ if name.startswith("WANDB_")}
"""Those that the user has set."""


@pytest.fixture(autouse=True)
def no_wandb_settings_stay() -> None:
    """Remove what trackers of this process have set in the environment: programs of later tests would print it."""
    for name in [name for name in os.environ if name.startswith("WANDB_") and name not in _WANDB_SETTINGS]:
        del os.environ[name]
