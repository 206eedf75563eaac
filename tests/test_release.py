"""The version stands in one place, and a release has its section in the changelog."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import runner
from support.ci_steps import uses
from support.paths import ROOT

WORKFLOW = ROOT / ".github" / "workflows" / "release.yml"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """`tools/release.py`."""
    spec = importlib.util.spec_from_file_location("release_tool", ROOT / "tools" / "release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A version and a changelog."""
    (tmp_path / "src/runner").mkdir(parents=True)
    (tmp_path / "src/runner/__init__.py").write_text('"""x"""\n\n__version__ = "0.1.0"\nother = 1\n')
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## Unreleased\n\n### Added\n\n- A.\n\n## 0.1.0 (2026-01-01)\n\n- B.\n"
    )
    return tmp_path


def test_the_version_is_that_of_the_package_and_stands_nowhere_else(tool: ModuleType) -> None:
    assert tool.current_version() == runner.__version__
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" not in table
    assert table["dynamic"] == ["version"]


def test_a_release_moves_what_is_unreleased_to_its_section(tool: ModuleType, project: Path) -> None:
    with pytest.raises(SystemExit, match=r"the tag is v0\.2\.0, and the version 0\.1\.0"):
        tool.check_tag("v0.2.0", project)
    tool.set_version("0.2.0", project)
    tool.check_tag("v0.2.0", project)
    assert tool.notes("0.2.0", project) == "### Added\n\n- A.\n"
    assert tool.notes("0.1.0", project) == "- B.\n"
    assert "other = 1" in (project / "src/runner/__init__.py").read_text()
    with pytest.raises(SystemExit, match="nothing under Unreleased"):
        tool.set_version("0.3.0", project)


@pytest.mark.parametrize(("version", "words"), [("1.0", "no version"), ("v1.0.0", "no version"), ("0.1.0", "already")])
def test_a_version_that_is_none_or_is_taken_is_refused(
    tool: ModuleType, project: Path, version: str, words: str
) -> None:
    before = (project / "CHANGELOG.md").read_text()
    with pytest.raises(SystemExit, match=words):
        tool.set_version(version, project)
    assert (project / "CHANGELOG.md").read_text() == before


def test_the_workflow_pins_every_action_and_its_scripts_hold_no_expression() -> None:
    for name in uses([WORKFLOW]):
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", name), name
    document = yaml.safe_load(WORKFLOW.read_text())
    assert document["permissions"] == {}
    for job in document["jobs"].values():
        for step in job["steps"]:
            assert "${{" not in step.get("run", "")


@pytest.mark.thorough
def test_the_sdist_makes_a_wheel_that_works_where_nothing_else_is(tool: ModuleType, tmp_path: Path) -> None:
    packages = tool.build(tmp_path / "dist")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    tool.check_package(packages[0], version)
    names = subprocess.run(["tar", "tzf", packages[1]], capture_output=True, text=True, check=True).stdout
    assert "/tests/" not in names
    assert "/src/runner/__init__.py" in names
