"""What a run has cost so far: the time and the money of each of its attempts, idle and failed ones included.

The time of an attempt is that from its claim to its end. One that was killed is counted to its last sign of life: its
heartbeat, else its newest log. Before the claim a machine is set up, and after the end it is taken down: that is not in
it, nor are disks and traffic.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from runner.runs.attempts import Claim, read_claim, read_ended, read_heartbeat
from runner.runs.chunks import chunk_infos
from runner.runs.layout import attempt_key, run_key
from runner.runs.liveness import newest_attempt
from runner.runs.record_types.attempt import ClaimRecord
from runner.runs.record_types.money import AttemptPrice, PriceRecord
from runner.runs.records import encoded, find_record, numbered_records
from runner.storage.store import Store, create_ours

_HOUR = 3600.0
_READS_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class AttemptSpending:
    """What one attempt has cost."""

    number: int
    """Attempts are counted from 1."""
    started_at: datetime | None
    """When it began, by its own clock."""
    seconds: float
    """How long it lasted, or has lasted so far."""
    machines: int
    """How many machines it had."""
    dollars: float | None
    """What they cost together; None: they have no price."""
    price: float | None
    """Dollars for an hour of one machine; None: it has none."""
    source: str | None
    """Whose price that is."""
    outcome: str
    """``succeeded``, ``failed``, ``cancelled``, ``interrupted``, ``superseded``, ``killed`` or ``running``."""
    useful_seconds: float | None = None
    """How much of the time has led to what the run has; None: not known. `spending` does not look for it
    (`runner.runs.measured.useful`)."""


@dataclass(frozen=True, kw_only=True)
class Spending:
    """What a run has cost so far."""

    attempts: tuple[AttemptSpending, ...]
    """Each attempt, the first one first."""

    @property
    def seconds(self) -> float:
        """The time of all attempts."""
        return sum(attempt.seconds for attempt in self.attempts)

    @property
    def machine_seconds(self) -> float:
        """The time of all machines of all attempts."""
        return sum(attempt.seconds * attempt.machines for attempt in self.attempts)

    @property
    def useful_machine_seconds(self) -> float | None:
        """How much of the time of all machines has led to what the run has; None: not known of an attempt."""
        known = [each.useful_seconds * each.machines for each in self.attempts if each.useful_seconds is not None]
        return sum(known) if len(known) == len(self.attempts) else None

    @property
    def useful_dollars(self) -> float | None:
        """What that part of the time has cost, as far as it has a price; None: none has, or the part is not known."""
        if self.useful_machine_seconds is None or self.dollars is None:
            return None
        return sum(
            each.dollars * (each.useful_seconds or 0.0) / each.seconds
            for each in self.attempts
            if each.dollars is not None and each.seconds
        )

    @property
    def dollars(self) -> float | None:
        """What the attempts cost that have a price; None if none has."""
        known = [attempt.dollars for attempt in self.attempts if attempt.dollars is not None]
        return sum(known) if known else None

    @property
    def unpriced_seconds(self) -> float:
        """The time of the machines that have no price."""
        return sum(attempt.seconds * attempt.machines for attempt in self.attempts if attempt.dollars is None)

    @property
    def sources(self) -> tuple[str, ...]:
        """Whose prices they are, each once."""
        return tuple(dict.fromkeys(attempt.source for attempt in self.attempts if attempt.source))


def spending(store: Store, run_id: str, *, now: datetime | None = None, before: int | None = None) -> Spending:
    """Add up what a run has cost so far.

    Args:
        store: where the run lives.
        run_id: the run.
        now: the time; None for this machine's.
        before: leave out this attempt and those after it.

    Raises:
        DamagedRecord: a record cannot be trusted.
    """
    numbers = numbered_records(store, run_key(run_id, "attempts/"))
    counted = {number: kinds for number, kinds in numbers.items() if before is None or number < before}
    now = now or datetime.now(UTC)
    # The last one may be alive. Whoever makes the next attempt has ended, or given up, those before it.
    alive = None
    if before is None and counted and "ended" not in counted[max(counted)]:
        newest = newest_attempt(store, run_id)
        alive = newest.number if newest is not None and newest.alive() else None
    following = dict(pairwise(numbers))

    def read(number: int) -> AttemptSpending:
        next_claim = numbers[following[number]][""] if number in following else None
        is_alive = number == alive
        return _attempt(store, run_id, number, counted[number], now=now if is_alive else None, next_claim=next_claim)

    with ThreadPoolExecutor(_READS_AT_ONCE, thread_name_prefix="spending") as pool:
        return Spending(attempts=tuple(pool.map(read, counted)))


def write_price(store: Store, claim: Claim, price: PriceRecord) -> None:
    """Record what an hour of a machine of an attempt costs."""
    record = AttemptPrice(token=claim.token, **price)
    create_ours(store, attempt_key(claim.run_id, claim.number, "price"), encoded(record))


def in_dollars(dollars: float) -> str:
    """An amount as people read it: ``$12.40``, ``$0.0031``."""
    return f"${dollars:.2f}" if dollars >= 0.1 or not dollars else f"${dollars:.4f}"


def cost_of(seconds: float, price: PriceRecord | None, machines: int = 1) -> float | None:
    """Return what machines cost for so long, in US dollars; None if they have no price."""
    return None if price is None else seconds / _HOUR * price["dollars_per_hour"] * machines


def _attempt(
    store: Store,
    run_id: str,
    number: int,
    kinds: Mapping[str, datetime],
    *,
    now: datetime | None,
    next_claim: datetime | None,
) -> AttemptSpending:
    """What one attempt has cost.

    Args:
        kinds: when each of its records was last written.
        now: if it is alive.
        next_claim: when the attempt after it was claimed, by the store's clock.
    """
    claim = read_claim(store, run_id, number)
    ended = read_ended(store, run_id, number) if "ended" in kinds else None
    price = find_record(store, attempt_key(run_id, number, "price"), AttemptPrice) if "price" in kinds else None
    if price is not None and price["token"] != claim["token"]:
        price = None
    begun = _moment(claim.get("started_at"))
    until = _moment(ended.get("ended_at")) if ended is not None else now
    if begun is not None and until is not None:
        seconds = (until - begun).total_seconds()
    else:
        seconds = _seconds_to_last_sign(store, run_id, number, claim, kinds, begun, next_claim)
    seconds, machines = max(0.0, seconds), claim.get("nodes", 1)
    outcome = "running" if now is not None else "killed" if ended is None else ended.get("outcome", "interrupted")
    return AttemptSpending(
        number=number,
        started_at=begun,
        seconds=seconds,
        machines=machines,
        dollars=cost_of(seconds, price, machines),
        price=None if price is None else price["dollars_per_hour"],
        source=None if price is None else price["source"],
        outcome=outcome,
    )


def _seconds_to_last_sign(
    store: Store,
    run_id: str,
    number: int,
    claim: ClaimRecord,
    kinds: Mapping[str, datetime],
    begun: datetime | None,
    next_claim: datetime | None,
) -> float:
    """How long an attempt lasted that did not say when it ended."""
    heartbeat = read_heartbeat(store, run_id, number) if "heartbeat" in kinds else None
    beat = _moment(heartbeat.get("at")) if heartbeat is not None else None
    seconds = (beat - begun).total_seconds() if beat is not None and begun is not None else 0.0
    if heartbeat is None:  # a store that took none may have taken what came before it
        signs = list(kinds.values())
        for kind in ("logs", "metrics"):
            signs += [info.last_modified for info in chunk_infos(store, run_id, kind).get(claim["token"], {}).values()]
        seconds = (max(signs) - kinds[""]).total_seconds()
    return seconds if next_claim is None else min(seconds, (next_claim - kinds[""]).total_seconds())


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment if moment is None or moment.tzinfo else None
