"""The documentation of recipes is true."""

import re

import pytest

from runner.recipe.formats.detection import COLUMNS
from runner.recipe.schema import recipe_schema
from support.paths import ROOT
from support.recipes import Check

TEXT = (ROOT / "docs/recipe.md").read_text()


@pytest.mark.parametrize("example", re.findall(r"```yaml\n(.*?)```", TEXT, re.S))
def test_each_example_is_a_recipe(check: Check, example: str) -> None:
    """What is shown can be copied."""
    assert check(text=example).recipe.name


def test_each_section_and_format_is_named() -> None:
    """A section that the schema has, and a format that is read, has its row."""
    for name in [*recipe_schema()["properties"], *COLUMNS]:
        assert f"| `{name}` |" in TEXT, name
    for section in ("checkpoint", "evaluate", "export"):
        for key, schema in recipe_schema()["properties"][section]["properties"].items():
            default = schema["default"]
            shown = {None: "null", False: "false"}.get(default, default) if not isinstance(default, list) else default
            assert re.search(
                rf"\| `{key}` \| {re.escape(f'{shown:g}' if isinstance(shown, float) else str(shown))} \|", TEXT
            )
