"""How long a run's attempts took."""

from datetime import UTC, datetime

from runner.runs.attempts import Claim, attempts, read_heartbeat
from runner.storage.store import Store


def seconds_of_attempts(store: Store, claim: Claim) -> float:
    """Return the seconds of all attempts up to `claim`, which goes on; of one that was killed, to its last heartbeat.

    Args:
        store: where the run lives.
        claim: the attempt that is made now.
    """
    total = 0.0
    for attempt in attempts(store, claim.run_id):
        began = _moment(attempt.claim.get("started_at"))
        if attempt.number > claim.number or began is None:
            continue
        if attempt.number == claim.number:
            ended: datetime | None = datetime.now(UTC)
        elif attempt.ended is not None:
            ended = _moment(attempt.ended.get("ended_at"))
        else:
            beat = read_heartbeat(store, claim.run_id, attempt.number)
            ended = None if beat is None else _moment(beat.get("at"))
        total += 0.0 if ended is None else max(0.0, (ended - began).total_seconds())
    return round(total, 1)


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
