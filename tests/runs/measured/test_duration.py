"""How long attempts took."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runner.runs.attempts import claim_attempt, write_ended, write_heartbeat
from runner.runs.measured.duration import seconds_of_attempts
from runner.storage.local import LocalStore


def test_all_attempts_count_and_a_killed_one_until_its_last_heartbeat(tmp_path: Path) -> None:
    store, now = LocalStore(tmp_path), datetime.now(UTC)

    def ago(seconds: float) -> str:
        return (now - timedelta(seconds=seconds)).isoformat()

    first = claim_attempt(store, "r", {"started_at": ago(1000)})
    write_ended(store, first, {"ended_at": ago(900)})
    killed = claim_attempt(store, "r", {"started_at": ago(800)})
    write_heartbeat(store, killed, {"at": ago(750)})
    last = claim_attempt(store, "r", {"started_at": ago(20)})
    assert seconds_of_attempts(store, last) == pytest.approx(170, abs=2)
