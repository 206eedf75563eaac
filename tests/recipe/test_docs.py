"""The documentation of recipes is true."""

import re
from pathlib import Path

import pytest

from runner.control.launching.rows import read_all_rows
from runner.recipe.formats.detection import COLUMNS
from runner.recipe.schema import recipe_schema
from support.doc_data import documented_recipes, with_stand_ins
from support.paths import ROOT
from support.recipes import Check

TEXT = (ROOT / "docs/recipe.md").read_text()


RECIPES = documented_recipes()


@pytest.mark.parametrize("example", [block for _, block in RECIPES])
def test_each_example_is_a_recipe(check: Check, tmp_path: Path, example: str) -> None:
    """What is shown can be copied, and its rows are converted: a mixture in it can be mixed."""
    loaded = check(text=with_stand_ins(example, tmp_path))
    assert loaded.recipe.name
    for sources in loaded.sources:
        assert all(source.entry is not None for source in sources)
    read_all_rows(loaded, say=lambda sentence: None)


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
