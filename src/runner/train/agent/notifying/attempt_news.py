"""What webhooks are told of one attempt at a run, and of the run's end."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runner.runs.attempts import Attempt, Claim
from runner.runs.layout import CheckpointName, notified_key
from runner.runs.measured.duration import seconds_of_attempts
from runner.runs.record_types.result import Result
from runner.runs.record_types.run import RunDocument
from runner.storage.store import Store
from runner.train.agent.notifying.messages import Event, Message, measurements
from runner.train.agent.notifying.notifier import Notifier
from runner.train.agent.notifying.webhooks import Webhooks
from runner.train.agent.outcome import Outcome
from runner.train.agent.setup import AgentSetup

_ENDS = ("succeeded", "failed", "cancelled")


class AttemptNews:
    """Tells a run's webhooks about one attempt. Nothing here waits but `close`.

    Args:
        setup: the run, and whom to tell.
        claim: the agent's right to make the attempt.
        progress: returns how far training is, and what the run has cost, as a heartbeat says it.
    """

    def __init__(self, setup: AgentSetup, claim: Claim, *, progress: Callable[[], Mapping[str, Any]]) -> None:
        self._setup = setup
        self._claim = claim
        self._progress = progress
        self._notifier = Notifier(
            setup.store, setup.webhooks, redact=setup.redact, patience_seconds=setup.timing.notify
        )

    def begin(self) -> None:
        """Warn of webhooks that cannot be told anything."""
        self._notifier.warn_of_missing()

    def resumed(self, earlier: Sequence[Attempt], restored: CheckpointName | None) -> None:
        """Tell that the run goes on, unless the same process goes on after memory ran out.

        Args:
            earlier: the attempts before this one.
            restored: the checkpoint that it continues from.
        """
        before = earlier[-1].ended if earlier else None
        if not earlier or (before is not None and before.get("again") and not before.get("hung")):
            return
        number = self._claim.number
        reason = f"attempt {number} begins anew: there is no checkpoint"
        if restored is not None:
            reason = f"attempt {number} continues from step {restored.step}"
        if before is None:
            reason += f"; attempt {earlier[-1].number} was lost with its machine, or killed"
        self._tell("resumed", "resumed", reason)

    def stalled(self, warning: str) -> None:
        """Tell that training makes no progress."""
        self._tell("stalled", "stalled", warning)

    def ended(self, outcome: Outcome, state: str, *, again: bool) -> None:
        """Tell that the run has ended, or was interrupted.

        Args:
            outcome: how the attempt ended.
            state: the same in a word, after what the run's result says.
            again: whether this process goes on with another attempt at once: nobody has to know.
        """
        if state in _ENDS:
            self._tell("ended", state, outcome.reason, outcome.result or {})
        elif state == "interrupted" and not outcome.paused and not again:
            self._tell("interrupted", state, outcome.reason)

    def close(self) -> None:
        """Wait until all is sent, for a few seconds at most."""
        self._notifier.close()

    def _tell(self, event: Event, state: str, reason: str | None, result: Mapping[str, Any] | None = None) -> None:
        setup, number = self._setup, self._claim.number
        message = Message(
            event=event,
            state=state,
            run_id=setup.run_id,
            recipe=setup.recipe_name,
            reason=reason,
            attempt=number,
            **measurements({**self._progress(), **(result or {})}),
        )
        key = notified_key(setup.run_id, event, reopened=setup.reopened, attempt=number)
        self._notifier.send(key, message, seconds=lambda: seconds_of_attempts(setup.store, self._claim))


def tell_missed_end(
    store: Store, run: RunDocument, result: Result, *, reopened: int, webhooks: Webhooks, patience_seconds: float
) -> None:
    """Tell that a run has ended, unless the attempt that ended it did: it may have been killed right after.

    Args:
        store: where the run lives.
        run: its ``run.json``.
        result: its result, in which nothing is secret.
        reopened: how often its owner has gone on with it after it had failed.
        webhooks: whom to tell.
        patience_seconds: how long that may take.
    """
    run_id, number = run["run_id"], result.get("attempts", 0)
    message = Message(
        event="ended",
        state=result["state"],
        run_id=run_id,
        recipe=run["name"],
        reason=result.get("reason"),
        attempt=number or None,
        **measurements(result),
    )
    notifier = Notifier(store, webhooks, patience_seconds=patience_seconds)
    notifier.send(notified_key(run_id, "ended", reopened=reopened, attempt=number), message)
    notifier.close()
