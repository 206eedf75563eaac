"""Who starts a run again, of several that want to: at most one, as long as the run is as they have seen it."""

from datetime import UTC, datetime

from runner.runs.attempts import newest_number
from runner.runs.launches import newest_launch
from runner.runs.layout import CLAIMS, new_nonce, numbered_key, run_key
from runner.runs.record_types.run import StartClaim
from runner.runs.records import DamagedRecord, encoded, find_hint, numbered_records, read_record, utc_now
from runner.runs.reopened import by_whom
from runner.storage.store import NotFound, Store

CLAIM_SECONDS = 600.0
"""After so long without a new attempt or launch, who has claimed a run is taken for dead. SkyPilot's answer to a launch
takes a minute or two at most, and the launch is recorded before it is asked."""


def claim_start(store: Store, run_id: str) -> bool:
    """Claim the right to start a run again, in its present state.

    Args:
        store: where the run lives.
        run_id: a run that nothing works on.

    Returns:
        False: somebody else has claimed it since its last attempt and launch, and may still be at it.
    """
    launch = newest_launch(store, run_id)
    seen = {"attempts": newest_number(store, run_id), "launches": 0 if launch is None else launch.number}
    number = max(numbered_records(store, run_key(run_id, CLAIMS)), default=0)
    if number:
        last = find_hint(store, numbered_key(run_id, CLAIMS, number), StartClaim)
        same = last is not None and (last["attempts"], last["launches"]) == (seen["attempts"], seen["launches"])
        if last is not None and same and _age(last) < CLAIM_SECONDS:
            return False
    nonce = new_nonce(8)
    claim = {"number": number + 1, "nonce": nonce, "claimed_at": utc_now(), **seen, **by_whom()}
    key = numbered_key(run_id, CLAIMS, number + 1)
    store.create(key, encoded(claim))
    try:
        # Read back: the answer may have got lost, and a store that ignores conditions may hold another's by now.
        return read_record(store, key, StartClaim)["nonce"] == nonce
    except (NotFound, DamagedRecord):
        return False


def _age(claim: StartClaim) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(claim["claimed_at"])).total_seconds()
