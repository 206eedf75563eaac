"""What webhooks are told when a sweep has ended: once for all of it, and nothing of its trials."""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from runner.storage.store import Store
from runner.sweeps.definition import Definition
from runner.sweeps.layout import notified_sweep_key
from runner.sweeps.state import SweepState
from runner.train.agent.notifying.messages import Message
from runner.train.agent.notifying.notifier import Notifier
from runner.train.agent.notifying.webhooks import find_webhooks


def tell_sweep_end(
    store: Store,
    definition: Definition,
    state: SweepState,
    *,
    entry: int,
    redact: Callable[[str], str],
    patience_seconds: float,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Tell the webhooks of a sweep's recipe that it has ended, unless another worker does.

    Args:
        store: where the sweep lives.
        definition: the sweep.
        state: what has happened.
        entry: the number of the journal's entry that says that it has ended.
        redact: hides the values of secrets in a text.
        patience_seconds: how long that may take.
        environ: the variables of this process.
    """
    assert state.ended is not None
    how, reason = state.ended
    notifier = Notifier(
        store, find_webhooks(definition.resolved, environ), redact=redact, patience_seconds=patience_seconds
    )
    notifier.warn_of_missing()
    now = datetime.now(UTC)
    message = Message(
        event="ended",
        state=how,
        run_id=definition.sweep_id,
        recipe=str(definition.resolved.get("name") or ""),
        reason=reason,
        is_sweep=True,
        trials=len(state.trials),
        duration_seconds=3600 * state.hours(now),
        cost=state.spent(now) or None,
    )
    notifier.send(notified_sweep_key(definition.sweep_id, entry), message)
    notifier.close()
