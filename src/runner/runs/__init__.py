"""What a run is in the store: keys, records, attempts, lineage, metrics, artifacts. Both programs use it."""

import sys
from types import ModuleType
from typing import Any


class _Package(ModuleType):
    """This package, which can also be called: `runner.runs()` lists the runs of a store.

    Python binds a package to its parent's attribute of the same name, so the Python API cannot keep a function there.
    """

    def __call__(self, store: Any = None) -> Any:
        """As `runner.list_runs`."""
        return sys.modules["runner"].list_runs(store)


sys.modules[__name__].__class__ = _Package
