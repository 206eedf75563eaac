"""Let failed trials of a sweep be trained again."""

from collections.abc import Sequence
from dataclasses import dataclass

from runner.control.sweeping.find import journal_of
from runner.errors import UserError
from runner.storage.store import Store
from runner.sweeps.controller import Controller
from runner.sweeps.events import Event
from runner.sweeps.state import SweepState


@dataclass(frozen=True, kw_only=True)
class Retried:
    """What came of it."""

    trials: Sequence[int]
    """Those that may be taken again."""
    kinds: dict[int, str]
    """How each of them had failed."""
    state: SweepState
    """The sweep since then."""

    @property
    def needs_resume(self) -> bool:
        """Whether nobody takes them before the sweep is resumed."""
        stopped = self.state.ended is not None or self.state.stop is not None
        return stopped or all(worker.left_at is not None for worker in self.state.workers.values())


def retry_trials(store: Store, sweep_id: str, trials: Sequence[int] = ()) -> Retried:
    """Let failed trials be taken again, with the same values, from their last checkpoint.

    Args:
        store: where the sweep lives.
        sweep_id: the sweep.
        trials: which; empty: all that have failed.

    Raises:
        UserError: one of them does not exist, or has not failed.
        NotFound, DamagedRecord: the sweep cannot be read.
    """
    journal = journal_of(store, sweep_id)
    controller = Controller(journal.definition)
    kinds: dict[int, str] = {}

    def decide(state: SweepState) -> Sequence[Event]:
        for number in trials:
            _check(state, sweep_id, number)
        chosen = controller.retry(state, sorted(set(trials)) or None)
        kinds.clear()
        for event in chosen:
            if event["event"] == "retried":
                kinds[event["trial"]] = state.trials[event["trial"]].kind or "error"
        return chosen

    journal.append(decide)
    return Retried(trials=list(kinds), kinds=kinds, state=journal.state)


def _check(state: SweepState, sweep_id: str, number: int) -> None:
    trial = state.trials.get(number)
    if trial is None:
        last = len(state.trials) - 1
        known = f"they are 0 to {last}" if last >= 0 else "there are none yet"
        raise UserError(f"there is no trial {number}", where=sweep_id, remedy=f"trials are counted from 0: {known}")
    if trial.state != "failed":
        words = {"ready": "waits for a worker", "running": "is running", "paused": "has paused at a rung"}
        raise UserError(
            f"trial {number} has not failed: it {words.get(trial.state, 'has finished')}",
            where=sweep_id,
            remedy=f"`runner sweep status {sweep_id}` shows which have",
        )
