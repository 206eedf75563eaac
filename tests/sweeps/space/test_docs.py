"""The documentation of a sweep's file is true."""

import dataclasses
import re

import pytest

from runner.sweeps.space.distributions import KEYS
from runner.sweeps.space.file import RunnerSection
from runner.sweeps.space.reading.read import TOP_KEYS
from support.paths import ROOT
from support.sweeping.files import SweepFiles

TEXT = (ROOT / "docs/sweeps.md").read_text()
FILE = TEXT.partition("\n## Commands")[0]
EXAMPLES = re.findall(r"```yaml\n(.*?)```", FILE, flags=re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_is_a_sweep(files: SweepFiles, example: str) -> None:
    assert files.load(example).space.parameters


def test_each_key_and_distribution_is_named() -> None:
    keys = [*TOP_KEYS, *(part.name for part in dataclasses.fields(RunnerSection)), *KEYS]
    missing = [key for key in keys if not re.search(rf"^\| [^|]*`{key}`[^|]*\|", FILE, flags=re.MULTILINE)]
    assert missing == ["recipe"]  # which the row of `program` has in its text


def test_each_default_of_ours_is_right() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `?(\w+)`? \|", FILE.partition("### `runner:`")[2], flags=re.MULTILINE))
    for part in dataclasses.fields(RunnerSection):
        if part.default not in (None, (), dataclasses.MISSING):
            assert rows[part.name] == str(part.default), part.name
