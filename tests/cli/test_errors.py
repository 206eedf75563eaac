"""A mistake is a message on standard error and an exit code, never a traceback."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from support.bench import Bench


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lanch"], "did you mean `runner launch`?"),
        (["frobnicate"], "`runner --help` lists the commands"),
        (["logs"], "Missing argument 'RUN...'"),
        (["ps", "--nonsense"], "No such option"),
        (["wait", "nothing"], "no run 'nothing'"),
        (["launch", "nothing.yaml"], "nothing.yaml"),
        (["launch", "small.yaml", "--infra", "aws"], "which machines on aws do not see"),
        (["launch", "small.yaml", "--name", "A B"], "cannot be a run's name"),
        (["launch", "small.yaml", "--set", "training.learning_rat=1"], "learning_rate"),
        (["launch", "small.yaml", "--secret", "NOT_SET_ANYWHERE"], "NOT_SET_ANYWHERE is not set"),
        (["launch", "small.yaml", "--env-file", "missing.env"], "missing.env"),
        (["ps", "--store", "ftp://host/x"], "unknown store scheme"),
    ],
)
def test_a_mistake_is_explained_and_exits_2_with_nothing_created(
    bench: Bench, arguments: list[str], message: str
) -> None:
    bench.recipe()
    before = sorted(bench.folder.rglob("*"))
    done = bench.runner(*arguments)
    assert done.returncode == 2, done
    assert message in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert sorted(bench.folder.rglob("*")) == before


def test_a_store_that_does_not_answer_is_no_mistake_of_the_callers(bench: Bench) -> None:
    environment = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
        "AWS_REGION": "us-east-1",
    }
    done = bench.runner("ps", "--store", "s3://bucket/x", env=environment, timeout=120)
    assert done.returncode == 1, done
    assert "does not answer" in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr


def test_a_reader_that_leaves_is_no_error(bench: Bench) -> None:
    for number in range(300):
        bench.submit(f"run-{number}")
    process = bench.start_runner("ps", "--all")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(120) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_ctrl_c_is_130(bench: Bench) -> None:
    bench.submit()
    lock = bench.lock("run")
    process = bench.start_runner("wait", "run")
    assert process.stderr is not None
    # Amid an import Python may lose a signal (it is raised in a callback, and only printed): pressed once more, then.
    code = None
    for _ in range(6):
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(6)
            break
        process.send_signal(signal.SIGINT)
    assert code == 130
    assert "Traceback" not in process.stderr.read()
    lock.close()


def test_ctrl_c_before_the_program_has_begun_is_130_too(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt")  # the first that is imported
    done = subprocess.run(
        [sys.executable, "-m", "runner", "ps"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (130, "")


def test_without_a_command_the_help_is_shown() -> None:
    done = subprocess.run([sys.executable, "-m", "runner"], capture_output=True, text=True)
    assert "Usage: runner" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "a\x1b[2J.yaml"],
        ["check", "odd\x1b]0;title\x07.yaml"],
        ["check", "small.yaml", "--set", "training.\x1b[2J=1"],
        ["check", "small.yaml", "--set", "name=\x1b[2J"],
        ["check", "small.yaml", "--set", "data.train.0.path=./\x9b2J.jsonl"],
        ["launch", "small.yaml", "--name", "\x1b[2J"],
        ["launch", "small.yaml", "--secret", "\x1b[2J"],
        ["launch", "small.yaml", "--env-file", "\x1b[2J"],
        ["launch", "small.yaml", "--gpu", "\x1b[2J"],
        ["launch", "small.yaml", "--infra", "\x1b[2J"],
        ["ps", "--store", "./\x1b[2J"],
        ["ps", "--\x1b[2J"],
        ["\x1b[2J"],
        ["wait", "\x1b[2J"],
        ["wait", "last", "--timeout", "\x1b[2J"],
        ["jobs"],
    ],
)
def test_what_is_said_of_odd_names_moves_no_cursor(bench: Bench, arguments: list[str]) -> None:
    """Names from the command line, of files, and of a recipe's keys and values."""
    bench.recipe()
    (bench.folder / "odd\x1b]0;title\x07.yaml").write_text('"\\e[2J": 1\nname: "\\e]0;t\\a"\n')
    (bench.folder / "jobs").mkdir()
    (bench.folder / "jobs/odd\x1b[2J.yaml").write_text("# Odd\nname: odd\n")
    done = bench.runner(*arguments)
    assert done.stdout + done.stderr
    assert all(letter.isprintable() or letter == "\n" for letter in done.stdout + done.stderr), ascii(done)
    assert "Traceback" not in done.stderr
