"""What one attempt costs: recorded when it begins, counted while it lasts, and kept below what the run may cost."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from runner.runs.attempts import Claim
from runner.runs.measured.spending import spending, write_price
from runner.storage.manifest import Damaged
from runner.storage.retry import after, retrying
from runner.train.agent.money.meter import Cap, Meter, capped
from runner.train.agent.outcome import Outcome
from runner.train.agent.setup import AgentSetup

_log = logging.getLogger(__name__)

R = TypeVar("R")


class AttemptMoney:
    """The money of one attempt. Use it once.

    Args:
        setup: the run, and this machine.
        claim: the agent's right to make the attempt.
    """

    def __init__(self, setup: AgentSetup, claim: Claim) -> None:
        self._setup = setup
        self._claim = claim
        self._meter = Meter(before=None, price=setup.money.price, machines=setup.topology.num_nodes)
        self._cap: Cap | None = None
        self._killed = False
        """Whether the workers were killed since the run may cost no more."""

    def begin(self) -> Outcome | None:
        """Record what this machine costs, and add up what the run has cost before.

        Returns:
            The attempt's outcome if the run may cost no more, so that it does not begin; else None.

        Raises:
            StoreUnavailable: the store stayed away.
            Superseded: a newer attempt has begun.
        """
        money, before = self._setup.money, None
        if money.price is not None:
            price = money.price
            self._patiently(lambda: write_price(self._setup.store, self._claim, price))
        if self._claim.number > 1:
            try:
                spent = self._patiently(
                    lambda: spending(self._setup.store, self._setup.run_id, before=self._claim.number)
                )
                before = spent.dollars
            except Damaged as error:
                _log.warning("what earlier attempts have cost is not known: %s", error)
        self._meter.set_limits(before=before, max_cost=money.max_cost)
        refusal = self._meter.refusal(self._setup.run_id)
        if refusal is None:
            return None
        _log.warning("not begun: %s", refusal)
        return capped(refusal)

    @contextmanager
    def kept_below_limit(self, *, stop: Callable[[], None], kill: Callable[[], None]) -> Iterator[None]:
        """Within, the workers are stopped in time, so that they save before the run costs more than it may.

        Args:
            stop: tells the workers to save a checkpoint and end.
            kill: kills those that have not, when nothing may be spent any more.
        """

        def save_and_end() -> None:
            _log.warning("saving and ending: %s", self._meter.reason(self._setup.run_id))
            stop()

        def end_now() -> None:
            self._killed = True
            kill()

        with Cap(self._meter, on_near=save_and_end, on_reached=end_now) as self._cap:
            yield

    @property
    def is_capped(self) -> bool:
        """Whether the workers were told to save and end since the run may cost no more."""
        return self._cap is not None and self._cap.near

    def note_step(self, step: object) -> None:
        """Learn how long a step takes."""
        self._meter.note_step(step)

    def cost(self) -> float | None:
        """What all attempts have cost so far, in US dollars; None: nothing has a price."""
        spent = self._meter.spent()
        return None if spent is None else round(spent, 6)

    def heartbeat_fields(self) -> dict[str, Any]:
        """What a heartbeat says of money."""
        return {"cost": self.cost(), "cost_per_hour": self._meter.dollars_per_hour}

    def after_cap(self, outcome: Outcome, *, any_killed: bool) -> Outcome:
        """Return how the attempt ended, if that was since the run may cost no more; else `outcome` as it is.

        Args:
            outcome: how it ended as its workers say.
            any_killed: whether the agent has killed one of them.
        """
        if self.is_capped and (outcome.kind == "interrupted" or (self._killed and any_killed)):
            return capped(self._meter.reason(self._setup.run_id))
        return outcome

    def _patiently(self, call: Callable[[], R]) -> R:
        return retrying(call, until=after(self._setup.timing.store))
