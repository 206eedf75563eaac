"""Without streams, a working directory or a home folder, every command does what it can, and says what it cannot."""

import contextlib
import errno
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runner import paths
from runner.cli.commands import __path__ as commands_folder
from runner.errors import UserError
from support.bench import Bench

COMMANDS = [
    "--help",
    "--version",
    "artifacts done",
    "cancel done",
    "chat nothing --cli",
    "check quickstart",
    "checkpoints done",
    "ci changed --base HEAD",
    "ci collect",
    "ci comment",
    "ci finish nothing",
    "ci launch nothing",
    "compare done",
    "config list",
    "cost done",
    "completion bash",
    "doctor",
    "du",
    "eval nothing",
    "export nothing --merge",
    "extend nothing --steps 1",
    "gc --dry-run",
    "gate done --require 'attempts == 1'",
    "image build --dry-run",
    "import nothing.yaml",
    "init --print --model nothing --data nothing",
    "jobs",
    "launch quickstart --dry-run",
    "launch small.yaml --infra aws",
    "logs done",
    "metrics done",
    "metrics done --csv",
    "nonsense",
    "note done",
    "plan quickstart",
    "preview nothing",
    "ps",
    "ps --json",
    "ps --nonsense",
    "pull nothing",
    "render quickstart --gpu T4 --store s3://bucket/x",
    "report nothing",
    "reproduce nothing",
    "resume done",
    "rm done --dry-run",
    "schema",
    "sweep best nothing",
    "sweep change nothing sweep.yaml",
    "sweep launch quickstart-halving --dry-run",
    "sweep ls",
    "sweep results nothing",
    "sweep resume nothing",
    "sweep retry nothing",
    "sweep status nothing",
    "sweep stop nothing",
    "tag done",
    "top --once",
    "wait done",
]
FULL = Path("/dev/full")
Finished = subprocess.CompletedProcess[str]
_PLAIN: dict[str, Finished] = {}


@pytest.fixture
def done(bench: Bench) -> Bench:
    bench.submit("done")
    bench.store.create("runs/done/result.json", b'{"state": "succeeded", "attempts": 1}')
    return bench


def run(bench: Bench, command: str, redirection: str = "", **environment: str | None) -> Finished:
    """A command of `runner` through a shell."""
    variables = {**bench.environment, **environment}
    return subprocess.run(
        ["sh", "-c", f"exec {shlex.quote(sys.executable)} -m runner {command} {redirection}"],
        env={name: value for name, value in variables.items() if value is not None},
        cwd=bench.folder,
        capture_output=True,
        text=True,
        timeout=60,
    )


def plain(bench: Bench, command: str) -> Finished:
    """The same with nothing amiss; each command once."""
    if command not in _PLAIN:
        _PLAIN[command] = run(bench, command)
    return _PLAIN[command]


def check(command: str, finished: Finished, codes: tuple[int, ...]) -> None:
    assert "Traceback" not in finished.stdout + finished.stderr, (command, finished.stderr)
    assert finished.returncode in codes, (command, finished)


def test_every_command_is_tried() -> None:
    folder = Path(commands_folder[0])
    modules = {path.relative_to(folder).with_suffix("") for path in folder.rglob("*.py") if path.stem != "__init__"}
    tried = {tuple(command.split()[:2]) for command in COMMANDS}
    tried |= {words[:1] for words in tried}
    # The module of `import` cannot be named as the command is.
    assert {tuple(part.removesuffix("_") for part in module.parts) for module in modules} <= tried


@pytest.mark.parametrize("closed", [pytest.param(">&-", marks=pytest.mark.thorough), ">&- 2>&- <&-"])
def test_a_closed_stream_changes_no_exit_code(done: Bench, closed: str) -> None:
    for command in COMMANDS:
        expected = plain(done, command)
        finished = run(done, command, closed)
        check(command, finished, (expected.returncode,))


def test_nothing_is_printed_into_a_file_that_takes_the_place_of_a_closed_stream(done: Bench) -> None:
    finished = run(done, "pull done out", ">&- 2>&-")
    assert finished.returncode == 0
    assert (done.folder / "out/metrics.jsonl").read_text() == ""


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")
def test_output_that_cannot_be_written_is_said_and_ends_with_1(done: Bench) -> None:
    said = os.strerror(errno.ENOSPC)
    for command in COMMANDS:
        expected = plain(done, command)
        finished = run(done, command, f">{FULL}")
        if expected.stdout:
            check(command, finished, (1,))
            assert finished.stderr.splitlines()[-1].endswith(said), (command, finished.stderr)
        else:
            check(command, finished, (expected.returncode,))


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")
def test_what_cannot_be_said_to_people_changes_no_exit_code(done: Bench) -> None:
    for command in COMMANDS:
        expected = plain(done, command)
        check(command, run(done, command, f"2>{FULL}"), (expected.returncode,))


def test_a_working_directory_that_is_gone_is_the_callers_mistake_where_it_is_needed(done: Bench) -> None:
    gone = done.folder / "gone"
    for command in COMMANDS:
        gone.mkdir()
        finished = subprocess.run(
            ["sh", "-c", f"rmdir {shlex.quote(str(gone))}; exec {shlex.quote(sys.executable)} -P -m runner {command}"],
            env=done.environment,
            cwd=gone,
            capture_output=True,
            text=True,
            timeout=60,
        )
        check(command, finished, (0, 1, 2))
        if command in ("jobs", "check quickstart", "plan quickstart", "launch quickstart --dry-run"):
            assert finished.returncode == 2, command
            assert "the working directory is gone" in finished.stderr, command


@pytest.mark.thorough
def test_a_home_folder_that_cannot_be_written_is_no_traceback(done: Bench) -> None:
    own = {f"XDG_{name}_HOME": None for name in ("STATE", "CACHE", "DATA")}
    for home in (None, "", "relative", "/proc", "/dev/null"):
        for command in [
            "ps",
            "doctor",
            "du",
            "plan quickstart",
            "render quickstart --gpu T4 --store s3://bucket/x",
            "launch small.yaml --detach",
        ]:
            check(command, run(done, command, HOME=home, RUNNER_STORE=None, **own), (0, 1, 2))
    done.recipe()
    finished = run(done, "launch small.yaml --detach", HOME="/proc", **own)
    check("launch", finished, (2,))
    assert "/proc/.local/state/runner" in finished.stderr
    assert "XDG_STATE_HOME" in finished.stderr
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(done.folder / "relative")


@pytest.mark.parametrize("home", [None, "", "relative/folder"])
def test_without_a_home_folder_the_message_names_what_to_set(home: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if home is None:
        monkeypatch.delenv("HOME", raising=False)
    else:
        monkeypatch.setenv("HOME", home)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)  # nobody in the machine's list of users
    with pytest.raises(UserError, match=r"HOME: your home folder is not known\n  Set HOME, or XDG_DATA_HOME to"):
        paths.default_store()
