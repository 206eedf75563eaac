"""Local folders follow XDG, and no two stores share one."""

from pathlib import Path

import pytest

from runner.paths import default_store, listing_cache, state_folder, work_folder


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
