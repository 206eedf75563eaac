"""`runner`: fine-tune language models anywhere, and lose nothing when the machine goes away."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runner.api.comparing import compare
    from runner.api.runs import Run, launch, list_runs, resume
    from runner.api.sweeps import Sweep, sweep

__all__ = ["Run", "Sweep", "__version__", "compare", "launch", "list_runs", "resume", "sweep"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import the Python API when it is used: `import runner` itself, as each command does, costs nothing."""
    import importlib

    if name == "runs":
        return importlib.import_module("runner.runs")  # which can be called: `runner.runs()`
    if name in ("Run", "launch", "list_runs", "resume"):
        return getattr(importlib.import_module("runner.api.runs"), name)
    if name == "compare":
        return importlib.import_module("runner.api.comparing").compare
    if name in ("Sweep", "sweep"):
        return getattr(importlib.import_module("runner.api.sweeps"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
