"""What a person is asked before a launch to a cloud, on a terminal and elsewhere."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys
from pathlib import Path
from runner.backends.base import ResourceOptions
from runner.backends.skypilot.resources import resolve_resources
from runner.cli.confirm import ask_on_terminal
from runner.cli.output import say
from runner.control.launching.cost import confirm_cost
from runner.recipe.loading.load import load_recipe
import click


def go():
    recipe = load_recipe("smollm2-135m-lora", cwd=Path.cwd()).recipe
    resources = resolve_resources({}, ResourceOptions(gpus=("A100:8",), infra=("aws",)))
    confirm_cost(recipe, resources, confirm=ask_on_terminal(yes="--yes" in sys.argv), say=say)
    print("launched")

try:
    go()
except click.Abort:
    sys.exit(130)
"""


def launch(home: Path, *arguments: str, answer: str | None, limit: str = "1") -> tuple[int, str, str]:
    """(exit code, output, errors); with an `answer`, standard input is a terminal where that is typed."""
    environment = {**os.environ, "HOME": str(home), "RUNNER_ASK_ABOVE": limit}
    command = [sys.executable, "-c", CODE, *arguments]
    if answer is None:
        done = subprocess.run(
            command, cwd=home, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
        )
        return done.returncode, done.stdout, done.stderr
    outer, inner = pty.openpty()
    with subprocess.Popen(
        command, cwd=home, env=environment, stdin=inner, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(inner)
        os.write(outer, f"{answer}\n".encode())
        out, err = process.communicate(timeout=300)
    os.close(outer)
    return process.returncode, out, err


@pytest.mark.parametrize(("answer", "code", "out"), [("y", 0, "launched\n"), ("n", 130, ""), ("", 130, "")])
def test_on_a_terminal_the_answer_counts(tmp_path: Path, answer: str, code: int, out: str) -> None:
    assert launch(tmp_path, answer=answer)[:2] == (code, out)


def test_the_plan_is_said_and_the_limit_named(tmp_path: Path) -> None:
    _, _, err = launch(tmp_path, answer="n")
    assert err.startswith("plan: A100:8 on aws: bf16, micro-batch 4 x accumulation 1 x 8 GPUs")
    assert "That may cost more than $1. Launch it? [y/N]" in err


@pytest.mark.parametrize(("arguments", "answer", "limit"), [((), None, "1"), (("--yes",), "n", "1"), ((), "n", "1000")])
def test_nobody_else_is_asked(tmp_path: Path, arguments: tuple[str, ...], answer: str | None, limit: str) -> None:
    code, out, err = launch(tmp_path, *arguments, answer=answer, limit=limit)
    assert (code, out) == (0, "launched\n")
    assert "Launch it?" not in err
