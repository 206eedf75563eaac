"""A machine that does not reach its store is not started again for ever."""

import subprocess
import sys
from pathlib import Path

import pytest

from runner.storage.store import StoreUnavailable
from runner.train.agent.hangs.reach import StoreNotReached, reach_store
from runner.train.agent.timing import Timing

TIMING = Timing(store=0.05, reach=0.4)


def away() -> int:
    raise StoreUnavailable("s3://b: connection refused")


def test_where_nobody_counts_the_tries_it_is_tried_for_longer_and_for_the_last_time() -> None:
    with pytest.raises(StoreNotReached, match=r"not reached the store in 0 s: s3://b: connection refused") as caught:
        reach_store(away, timing=TIMING, counted_by_caller=False)
    assert "none is started (exit code 1)" in str(caught.value)


def test_a_supervisor_counts_by_itself() -> None:
    with pytest.raises(StoreUnavailable):
        reach_store(away, timing=TIMING, counted_by_caller=True)


def test_a_store_that_comes_back_is_reached() -> None:
    answers = iter([False, True])

    def once() -> str:
        return "there" if next(answers) else str(away())

    assert reach_store(once, timing=Timing(store=0.0, reach=30.0), counted_by_caller=False) == "there"


@pytest.mark.parametrize(("arguments", "code"), [(["--give-up-after", "10"], 1), ([], 75)])
def test_the_program_ends_with_1_where_75_would_start_another_machine(
    tmp_path: Path, arguments: list[str], code: int
) -> None:
    """As the rendered task runs it, with less patience."""
    program = (
        "import sys; from runner.train import entrypoint; from runner.train.agent.timing import Timing; "
        "real = entrypoint.run_attempt; "
        "entrypoint.run_attempt = lambda *a, **k: real(*a, timing=Timing(store=0.1, reach=0.3), **k); "
        "sys.exit(entrypoint.main())"
    )
    environment = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "HOME": str(tmp_path),
        "PYTHONPATH": ":".join(sys.path),
    }
    command = [sys.executable, "-c", program, "--store", "s3://bucket", "--run", "r", "--work-dir", str(tmp_path)]
    done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    assert "connection refused" in done.stderr
    assert ("none is started" in done.stderr) == (code == 1)
    assert "Traceback" not in done.stderr
