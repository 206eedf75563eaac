"""What people are told to type next works as it stands, where they are."""

import os
import shlex
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from runner.cli.hints import as_typed
from runner.cli.options import store_option


@click.command()
@store_option
def suggest(store: object) -> None:
    click.echo(as_typed("pull last"))


def suggested(*arguments: str) -> str:
    return CliRunner().invoke(suggest, list(arguments)).output.strip()


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `runner` that this process was started as, with nothing of that name on the PATH."""
    path = tmp_path / "a folder" / "runner"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(path), "launch"])
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.delenv("RUNNER_STORE", raising=False)
    return path


def test_a_program_that_is_not_on_the_path_is_named_by_its_path(program: Path) -> None:
    assert suggested() == f"{shlex.quote(str(program))} pull last"


def test_a_program_on_the_path_is_named_by_its_name(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(program.parent))
    assert suggested() == "runner pull last"


def test_a_program_hidden_by_another_one_on_the_path_is_named_by_its_path(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "bin" / "runner"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(other.parent))
    assert suggested() == f"{shlex.quote(str(program))} pull last"


def test_a_store_that_was_named_on_the_command_line_is_named_again(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(program.parent))
    store = str(tmp_path / "my store")
    assert suggested("--store", store) == f"runner pull last --store {shlex.quote(store)}"
    monkeypatch.setenv("RUNNER_STORE", store)
    assert suggested() == "runner pull last"
