"""`runner top` where it prints once: what is alive, and nothing else."""

import json

import pytest

from runner.reports.drawing.sparkline import BLOCKS
from runner.runs.status import run_status
from support import stored
from support.bench import Bench, wait_until
from support.sweeping.launched import launched, tell
from support.terminal import shown

GPU = {"index": 0, "utilization_percent": 97.0, "memory_gib": 61.2, "memory_total_gib": 80.0}
LONG = "a-run-with-a-name-that-is-rather-long-for-a-terminal-20260101-abcd"


@pytest.fixture
def alive(bench: Bench) -> Bench:
    """Three runs that train, of one a lot is known; one that has ended; one that nothing works on."""
    numbers = {"loss": 1.5, "tokens_per_second": 18211.0, "eta_seconds": 1800.0, "cost": 1.2, "cost_per_hour": 2.0}
    stored.running(bench.store, LONG, losses=[4, 3, 2, 1.5], gpus=[GPU], checkpoint_step=2, **numbers)
    stored.checkpoint(bench.store, LONG, 2)
    stored.running(bench.store, "stalled", losses=[2.0], idle_seconds=4000.0)
    stored.running(bench.store, "young", phase="loading", step=None)
    stored.ended(bench.store, stored.submitted(bench.store, "over"))
    stored.submitted(bench.store, "asleep")
    return bench


def test_a_run_is_shown_with_all_that_is_known_of_it(alive: Bench) -> None:
    done = alive.runner("top", "--once")
    assert done.returncode == 0, done.stderr
    header, *lines = done.stdout.splitlines()
    titles = "RUN STATE STEP LOSS CURVE ETA GPU GPU GIB TOKENS/S SAVED COST FORECAST ATTEMPTS"
    assert " ".join(header.split()) == titles
    (line,) = [line for line in lines if line.startswith(LONG)]
    for part in ("training", "4/10", "1.5000", "30m 0s", "97%", "61.2/80", "18211", "$1.20", "$2.20"):
        assert f" {part} " in line, part
    assert f"{BLOCKS[-1]}{BLOCKS[-1]}" in line, "the curve"
    assert "young" in done.stdout
    assert "loading" in done.stdout
    assert "stalled: no step for 67 min" in lines
    assert "over" not in done.stdout
    assert "asleep" not in done.stdout
    assert "1 more wait or are interrupted" in done.stderr


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_no_line_is_longer_than_the_terminal(alive: Bench, columns: int) -> None:
    lines = shown(alive, columns, "top", "--once")
    assert max(map(len, lines)) <= columns
    assert lines[0].split()[:3] == ["RUN", "STATE", "STEP"]
    assert any("abcd" in line and "4/10" in line for line in lines)


def test_json_has_numbers_for_programs(alive: Bench) -> None:
    found = json.loads(alive.runner("top", "--json").stdout)
    rows = {row["run_id"]: row for row in found["runs"]}
    assert rows.keys() == {LONG, "stalled", "young"}
    row = rows[LONG]
    assert (row["step"], row["eta_seconds"], row["forecast"], row["system"]["gpus"]) == (4, 1800.0, 2.2, [GPU])
    assert 0 <= row["checkpoint_age_seconds"] < 3600
    assert (found["sweeps"], found["asleep"], found["damaged"]) == ([], 1, {})


def test_an_empty_store_says_so(bench: Bench) -> None:
    done = bench.runner("top")
    assert (done.returncode, done.stdout) == (0, "")
    assert f"nothing is alive in {bench.store.url}" in done.stderr
    assert json.loads(bench.runner("top", "--json").stdout) == {"runs": [], "sweeps": [], "asleep": 0, "damaged": {}}


def test_output_that_holds_only_ascii_gets_only_ascii(alive: Bench) -> None:
    environment = {**alive.environment, "PYTHONIOENCODING": "ascii"}
    done = alive.runner("top", env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert "##" in done.stdout


def test_trials_stand_below_their_sweep(bench: Bench) -> None:
    launched(bench.store, bench.folder)
    drawn = {"event": "drawn", "trial": 3, "values": {"lora_r": 4}, "settings": {"adapter.r": 4}}
    taken = {"event": "taken", "trial": 3, "worker": "w", "until": 30}
    tell(bench.store, {"event": "joined", "worker": "w"}, drawn, taken)  # type: ignore[arg-type]
    stored.running(bench.store, "sweep-0003", losses=[2.0])
    lines = bench.runner("top").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["RUN", "sweep", "trial"]
    assert lines[2].startswith("  trial 3  training")
    (sweep,) = json.loads(bench.runner("top", "--json").stdout)["sweeps"]
    assert (sweep["sweep_id"], [row["run_id"] for row in sweep["trials"]]) == ("sweep", ["sweep-0003"])


def test_a_run_of_this_machine_is_shown_until_it_has_ended(bench: Bench) -> None:
    bench.submit("run", created_at="2026-01-01T00:00:00+00:00")
    process = bench.start_supervisor("run", {"1": ["hang", 3]})
    bench.pids("run")
    wait_until(lambda: run_status(bench.store, "run").step == 3)
    (row,) = json.loads(bench.runner("top", "--json").stdout)["runs"]
    assert (row["run_id"], row["state"], row["step"], row["attempts"]) == ("run", "running", 3, 1)
    assert bench.runner("cancel", "run").returncode == 0
    process.communicate(timeout=120)
    assert json.loads(bench.runner("top", "--json").stdout)["runs"] == []
