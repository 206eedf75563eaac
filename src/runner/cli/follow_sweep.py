"""Show a sweep's progress and say how it ends: what `sweep launch` and `sweep resume` do when workers were started."""

import os
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from runner.backends.base import poll_seconds
from runner.cli.hints import as_typed
from runner.cli.output import print_json, say, show
from runner.control.sweeping.follow import Ending, end_workers, follow_sweep
from runner.control.sweeping.status import running_trials
from runner.exit_codes import CTRL_C, FAILED, INTERRUPTED, SUCCEEDED
from runner.reports import summary
from runner.reports.sweep_events import sentences
from runner.reports.sweep_tables import SHOWN, heading, rungs_table, summary_lines, trials_table
from runner.sweeps.views.overview import leaderboard, make_overview, pick_rows

if TYPE_CHECKING:
    from runner.control.sweeping.launch import LaunchedSweep
    from runner.storage.store import Store
    from runner.sweeps.events import Entry
    from runner.sweeps.state import SweepState

_REDRAW_SECONDS = 1.0


def follow(store: "Store", launched: "LaunchedSweep", *, detach: bool, as_json: bool) -> int:
    """Show a sweep to its end, or print its id if it is to be left alone; return the exit code."""
    sweep_id = launched.sweep_id
    if detach:
        if as_json:
            print_json({"sweep_id": sweep_id, "store": store.url})
        else:
            show(sweep_id)
        look = [
            (as_typed(f"sweep status {sweep_id}"), "where it stands"),
            (as_typed(f"sweep stop {sweep_id}"), "pause it"),
        ]
        say(f"It runs without this command.\n{summary.next_commands(look)}")
        return SUCCEEDED
    screen = _Screen(store, launched)
    try:
        with screen:
            ending, state = follow_sweep(store, launched, on_entry=screen.tell, show=screen.show)
    except KeyboardInterrupt:
        return _interrupted(store, launched)
    return _report(store, launched, ending, state, as_json=as_json)


class _Screen:
    """A table that is redrawn on a terminal; a line for each event elsewhere."""

    def __init__(self, store: "Store", launched: "LaunchedSweep") -> None:
        self._store = store
        self._definition = launched.definition
        self._redraw_seconds = max(_REDRAW_SECONDS, 2 * poll_seconds(store))
        self._live: Any = None
        self._drawn_at = float("-inf")

    def __enter__(self) -> "_Screen":
        if sys.stderr.isatty() and os.environ.get("TERM", "") != "dumb":
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(file=sys.stderr), auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._live is not None:
            self._live.stop()

    def tell(self, entry: "Entry") -> None:
        """Print what has happened."""
        for sentence in sentences(entry, self._definition):
            if self._live is not None:
                self._live.console.print(sentence, markup=False, highlight=False)
            else:
                say(sentence)

    def show(self, state: "SweepState") -> None:
        """Draw where the sweep stands."""
        if self._live is None or time.monotonic() - self._drawn_at < self._redraw_seconds:
            return
        from rich.text import Text

        overview = make_overview(self._definition, state, now=datetime.now(UTC))
        width = self._live.console.width
        parts = [heading(overview), *summary_lines(overview, silence={})]
        if overview.definition.rungs:
            parts += ["", rungs_table(overview, width)]
        room = min(SHOWN, max(3, self._live.console.height - 20))
        rows = pick_rows(leaderboard(overview), best=max(0, room - overview.outlooks.get("running", 0)), most=room)
        if rows:
            runs = running_trials(self._store, self._definition, state)
            parts += ["", trials_table(overview, rows, width, steps={number: run.step for number, run in runs.items()})]
        self._live.update(Text("\n".join(parts), no_wrap=True, overflow="ellipsis"), refresh=True)
        self._drawn_at = time.monotonic()


def _interrupted(store: "Store", launched: "LaunchedSweep") -> int:
    if launched.detached:
        end = as_typed(f"sweep stop {launched.sweep_id}")
        say(f"\n{launched.sweep_id} goes on without this command; `{end}` ends it")
        return CTRL_C
    say("\nsaving: trials pause at their next step (Ctrl-C again to kill them)")
    end_workers(store, launched, say=say)
    say(f"{launched.sweep_id} is paused; `{as_typed(f'sweep resume {launched.sweep_id}')}` goes on with it")
    return CTRL_C


def _report(store: "Store", launched: "LaunchedSweep", ending: Ending, state: "SweepState", *, as_json: bool) -> int:
    """Say how a sweep ended and what to do next; return the exit code."""
    sweep_id, definition = launched.sweep_id, launched.definition
    overview = make_overview(definition, state, now=datetime.now(UTC))
    say("\n" + "\n".join([heading(overview), *summary_lines(overview, silence={})]))
    look: list[tuple[str, str]] = []
    if state.best():
        look.append((as_typed(f"sweep best {sweep_id} --out best.yaml"), "the winning recipe, ready to launch"))
        look.append((as_typed(f"sweep results {sweep_id}"), "all trials"))
    if ending != "ended" or state.ended is None or state.ended[0] != "succeeded":
        look.append((as_typed(f"sweep status {sweep_id}"), "why each trial stopped"))
        look.append((as_typed(f"sweep resume {sweep_id}"), "go on"))
    if ending == "no workers":
        say("no worker is left: " + _why_none(state))
    say(summary.next_commands(look))
    if as_json:
        best = state.best()
        print_json(
            {
                "sweep_id": sweep_id,
                "state": state.ended[0] if state.ended else "stopped",
                "reason": state.ended[1] if state.ended else state.stop,
                "best": best[0].number if best else None,
                "value": best[0].value if best else None,
                "store": store.url,
            }
        )
    if state.ended is None:
        return INTERRUPTED
    return SUCCEEDED if state.ended[0] == "succeeded" else FAILED


def _why_none(state: "SweepState") -> str:
    reasons = [worker.reason for worker in state.workers.values() if worker.reason]
    return reasons[-1] if reasons else "none has begun; what they printed is in the folder above"
