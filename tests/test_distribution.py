"""Hints that install something name a source that is ours, and never a stranger's project."""

import json
import re
import subprocess
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest

from runner import distribution
from support.paths import ROOT

GIT = {"vcs": "git", "requested_revision": "main", "commit_id": "0" * 40}


def installed_from(monkeypatch: pytest.MonkeyPatch, folder: Path, origin: dict[str, Any] | None) -> None:
    """Let the distribution be one whose installer recorded that origin (PEP 610)."""
    (folder / "x.dist-info").mkdir()
    (folder / "x.dist-info/METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution.NAME}\nVersion: 1\n")
    if origin is not None:
        (folder / "x.dist-info/direct_url.json").write_text(json.dumps(origin))
    monkeypatch.setattr(distribution, "installed", lambda: Distribution.at(folder / "x.dist-info"))


def test_a_checkout_and_a_wheel_are_named_by_their_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = tmp_path / "a checkout"
    checkout.mkdir()
    installed_from(monkeypatch, tmp_path, {"url": checkout.as_uri(), "dir_info": {"editable": True}})
    assert distribution.install_command("chat").endswith(f"install --editable '{checkout}[chat]'")
    assert distribution.install_command().endswith(f"install --editable '{checkout}'")


def test_a_folder_that_was_copied_is_not_editable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed_from(monkeypatch, tmp_path, {"url": tmp_path.as_uri(), "dir_info": {}})
    assert distribution.install_command("train", "gguf").endswith(f"install '{tmp_path}[train,gguf]'")


@pytest.mark.parametrize(
    ("origin", "requirement"),
    [
        (
            {"url": "https://git.example/us/runner.git", "vcs_info": GIT},
            "runner-finetune[chat] @ git+https://git.example/us/runner.git@main",
        ),
        (
            {"url": "https://me:secret@git.example/runner.git", "vcs_info": {"vcs": "git", "commit_id": "ab" * 20}},
            f"runner-finetune[chat] @ git+https://git.example/runner.git@{'ab' * 20}",
        ),
        (
            {"url": "https://files.example/runner_finetune-1-py3-none-any.whl", "archive_info": {}},
            "runner-finetune[chat] @ https://files.example/runner_finetune-1-py3-none-any.whl",
        ),
        ({"url": "file:///no/longer/runner_finetune-1-py3-none-any.whl", "archive_info": {}}, "RUNNER[chat]"),
        (None, "RUNNER[chat]"),
    ],
)
def test_an_address_is_named_as_it_was_given_and_an_unknown_source_by_the_docs_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: dict[str, Any] | None, requirement: str
) -> None:
    installed_from(monkeypatch, tmp_path, origin)
    assert distribution.install_command("chat").endswith(f"install '{requirement}'")
    assert f"`{distribution.UNKNOWN_SOURCE}` stands for" in (ROOT / "docs/notebooks.md").read_text()


def test_pip_is_this_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setenv("PATH", str(tmp_path))
    assert distribution.install_command("chat").startswith(f"{sys.executable} -m pip install")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    (tmp_path / "pip").write_text("#!/bin/sh\n")
    (tmp_path / "pip").chmod(0o755)
    assert distribution.install_command("chat").startswith("pip install")


def test_nothing_tells_anybody_to_install_what_pypi_calls_runner() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "src", "docs", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    texts = {
        name: (ROOT / name).read_text(errors="replace") for name in listed.stdout.split() if (ROOT / name).is_file()
    }
    stranger = re.compile(
        r"""(pip|uv|pipx)[\w ]* (install|add|run) [^\n#]*['"` ]runner(\[|['"`\s]|$)|\brunner\[(?!\{)"""
    )
    assert {name: found[0] for name, text in texts.items() if (found := stranger.search(text))} == {}
