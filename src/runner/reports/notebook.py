"""Show a run's progress in a notebook: one output of the cell, which is replaced again and again."""

import html
import sys
from typing import Any

from runner.reports.progress import EtaEstimator, describe_phase, progress_line
from runner.runs.status import RunStatus
from runner.terminal import visible


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel. IPython is looked for only where it is imported already."""
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class NotebookDisplay:
    """A bar and a line below it, in HTML and as text; needs no widgets. Sentences are printed below the cell."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._eta = EtaEstimator()
        self._shown = ""

    def show(self, status: RunStatus) -> None:
        """See `Display.show`."""
        progress = progress_line(status, self._eta.seconds_left(status))
        doing = describe_phase(status) if not status.terminal else status.state
        if status.reason and status.state != "running":
            doing += f" ({status.reason})"
        line = visible(f"{status.run_id}: {doing}" + (f" · {progress}" if progress else ""))
        if line != self._shown:
            self._shown = line
            self._put({"text/plain": line, "text/html": _bar(status, line)})

    def say(self, sentence: str) -> None:
        """See `Display.say`."""
        print(visible(sentence), flush=True)

    def close(self) -> None:
        """See `Display.close`."""

    def _put(self, bundle: dict[str, str]) -> None:
        display: Any = sys.modules["IPython"].display
        if self._handle is None:
            self._handle = display.display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


def _bar(status: RunStatus, line: str) -> str:
    share = f' value="{status.step or 0}" max="{status.max_steps}"' if status.max_steps else ""
    return f'<progress style="width: 20em"{share}></progress><pre style="margin: 0">{html.escape(line)}</pre>'
