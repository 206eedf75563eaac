"""Local folders follow XDG, and no two stores share one."""

import os
from pathlib import Path

import pytest

from runner.paths import default_store, listing_cache, make_folder, state_folder, work_folder
from runner.storage.local import LocalStore


def test_folders_lie_below_home_unless_xdg_says_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert default_store() == str(tmp_path / ".local/share/runner")
    assert state_folder("s", "run").is_relative_to(tmp_path / ".local/state/runner")
    assert listing_cache("s").is_relative_to(tmp_path / ".cache/runner")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/ignored")
    assert default_store() == "/data/runner"
    assert state_folder("s", "run").is_relative_to(tmp_path / ".local/state/runner")


def test_stores_and_runs_are_kept_apart() -> None:
    assert state_folder("a", "run") != state_folder("b", "run")
    assert listing_cache("a") != listing_cache("b")
    assert work_folder("a", "run").parent == state_folder("a", "run")


def mode(folder: Path) -> int:
    return folder.stat().st_mode & 0o777


def test_only_this_user_can_look_into_new_folders_of_runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those above them are made as usual, and one that was opened to others stays open."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    before = os.umask(0o022)
    try:
        make_folder(state_folder("s", "run"))
        make_folder(listing_cache("s").parent)
        LocalStore(Path(default_store())).put("runs/x", b"")
        LocalStore(tmp_path / "my" / "store").put("runs/x", b"")
    finally:
        os.umask(before)
    for private in (".local/state/runner", ".cache/runner", ".local/share/runner", "my/store"):
        assert mode(tmp_path / private) == 0o700, private
    assert mode(tmp_path / ".cache") == mode(tmp_path / "my") == 0o755
    (tmp_path / "my/store").chmod(0o750)
    LocalStore(tmp_path / "my" / "store").put("runs/y", b"")
    assert mode(tmp_path / "my/store") == 0o750
