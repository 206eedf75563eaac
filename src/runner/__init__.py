"""`runner`: fine-tune language models anywhere, and lose nothing when the machine goes away."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runner.api.comparing import compare
    from runner.api.launching import launch, resume
    from runner.api.recipes import Recipe
    from runner.api.results import RunFailed, RunResult
    from runner.api.runs import Run, list_runs
    from runner.api.sweeps import Sweep, list_sweeps, sweep
    from runner.errors import UserError

_PLACES = {
    "Recipe": "runner.api.recipes",
    "Run": "runner.api.runs",
    "RunFailed": "runner.api.results",
    "RunResult": "runner.api.results",
    "Sweep": "runner.api.sweeps",
    "UserError": "runner.errors",
    "compare": "runner.api.comparing",
    "launch": "runner.api.launching",
    "list_runs": "runner.api.runs",
    "list_sweeps": "runner.api.sweeps",
    "resume": "runner.api.launching",
    "sweep": "runner.api.sweeps",
}
"""Where each public name is."""

__all__ = [
    "Recipe",
    "Run",
    "RunFailed",
    "RunResult",
    "Sweep",
    "UserError",
    "__version__",
    "compare",
    "launch",
    "list_runs",
    "list_sweeps",
    "resume",
    "sweep",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import the Python API when it is used: `import runner` itself, as each command does, costs nothing."""
    import importlib

    if name == "runs":
        return importlib.import_module("runner.runs")  # which can be called: `runner.runs()`
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
