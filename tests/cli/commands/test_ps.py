"""`ps` lists what is asked for, says what is odd, and uses the width that there is."""

import json
import os
import pty
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runner.control.keeping.mark import note_runs, tag_runs
from support.bench import CLI, Bench
from support.stored import ended


def listed(bench: Bench, *options: str) -> list[str]:
    return [row["run_id"] for row in json.loads(bench.runner("ps", "--json", *options).stdout)]


def on_terminal(bench: Bench, width: int, *arguments: str) -> list[str]:
    """The lines of a command whose output is a terminal that wide."""
    leader, follower = pty.openpty()
    import subprocess

    environment = {**bench.environment, "COLUMNS": str(width), "TERM": "dumb"}
    process = subprocess.Popen(
        [sys.executable, "-c", CLI, *arguments], stdout=follower, stderr=subprocess.DEVNULL, env=environment
    )
    os.close(follower)
    text = b""
    while True:
        try:
            data = os.read(leader, 65536)
        except OSError:
            break
        if not data:
            break
        text += data
    process.wait()
    os.close(leader)
    return text.decode().splitlines()


@pytest.fixture
def some(bench: Bench) -> Bench:
    now = datetime.now(UTC)
    for number, (name, state) in enumerate([("small", "succeeded"), ("small", "failed"), ("large-1", "succeeded")]):
        bench.submit(f"run-{number}", name=name, created_at=(now - timedelta(days=number)).isoformat())
        extra: dict[str, Any] = {"after": {"eval_loss": 1.25}} if state == "succeeded" else {"reason": "no"}
        ended(bench.store, f"run-{number}", state, **extra, ended_at=now.isoformat())
    bench.submit("run-3", created_at=(now - timedelta(days=9)).isoformat())
    tag_runs(bench.store, ["run-0", "run-2"], ["keep,good"], remove=False)
    tag_runs(bench.store, ["run-0"], ["best"], remove=False)
    note_runs(bench.store, ["run-2"], "too high a rate")
    return bench


@pytest.mark.parametrize(
    ("options", "runs"),
    [
        ([], ["run-0", "run-1", "run-2", "run-3"]),
        (["--tag", "keep"], ["run-0", "run-2"]),
        (["--tag", "keep", "--tag", "best"], ["run-0"]),
        (["--tag", "nothing"], []),
        (["--state", "succeeded"], ["run-0", "run-2"]),
        (["--state", "failed", "--state", "pending"], ["run-1", "run-3"]),
        (["--recipe", "small"], ["run-0", "run-1", "run-3"]),
        (["--recipe", "large-*"], ["run-2"]),
        (["--since", "36h"], ["run-0", "run-1"]),
        (["--since", "2020-01-01"], ["run-0", "run-1", "run-2", "run-3"]),
        (["--since", "5d", "--tag", "good", "--recipe", "s*"], ["run-0"]),
    ],
)
def test_filters_leave_what_fits(some: Bench, options: list[str], runs: list[str]) -> None:
    assert listed(some, *options) == runs


def test_tags_and_notes_are_in_the_json_of_every_run(some: Bench) -> None:
    rows = json.loads(some.runner("ps", "--json").stdout)
    assert [(row["tags"], row["note"]) for row in rows] == [
        (["best", "good", "keep"], None),
        ([], None),
        (["good", "keep"], "too high a rate"),
        ([], None),
    ]
    assert [row["eval_loss"] for row in rows] == [1.25, None, 1.25, None]


def test_a_filter_that_fits_nothing_says_so_and_a_moment_that_is_none_is_refused(some: Bench) -> None:
    assert "none of the 4 runs fits" in some.runner("ps", "--tag", "nothing").stderr
    wrong = some.runner("ps", "--since", "soon")
    assert (wrong.returncode, "'soon' is not a moment" in wrong.stderr) == (2, True)
    assert some.runner("ps", "--state", "done").returncode == 2


@pytest.mark.parametrize("width", [60, 80, 140, 200])
def test_no_line_is_wider_than_the_terminal(some: Bench, width: int) -> None:
    lines = on_terminal(some, width, "ps")
    assert max(map(len, lines)) <= width
    assert {"RUN", "STATE", "STEP"} <= set(lines[0].split())
    assert ("EVAL LOSS" in lines[0], "NOTE" in lines[0]) == (True, width >= 140)


def test_a_tag_is_shown_taken_away_and_checked(some: Bench) -> None:
    assert some.runner("tag", "run-0").stdout == "run-0  best, good, keep\n"
    assert some.runner("tag", "run-*", "keep", "--remove").returncode == 0
    assert listed(some, "--tag", "keep") == []
    wrong = some.runner("tag", "run-0", "a b")
    assert (wrong.returncode, "cannot be a tag" in wrong.stderr) == (2, True)
    both = some.runner("tag", "run-0", "run-1")
    assert (both.returncode, "the last word is the tag" in both.stderr) == (2, True)


def test_a_note_is_shown_and_removed(some: Bench) -> None:
    assert some.runner("note", "run-2").stdout == "run-2  too high a rate\n"
    assert some.runner("note", "run-2", "").stdout == "run-2  -\n"


def test_du_counts_what_is_in_the_store(some: Bench) -> None:
    from runner.storage.local import LocalStore

    assert isinstance(some.store, LocalStore)
    document = json.loads(some.runner("du", "--json").stdout)
    assert document["bytes"] == sum(path.stat().st_size for path in some.store.root.rglob("*") if path.is_file())
    assert len(document["runs"]) == 4
    one = json.loads(some.runner("du", "run-2", "--json").stdout)
    assert [row["run_id"] for row in one["runs"]] == ["run-2"]
    assert max(map(len, on_terminal(some, 60, "du"))) <= 60
