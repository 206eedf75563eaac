"""The recipes in the documentation give a trainer rows."""

from pathlib import Path

import pytest

from runner.recipe.loading.load import load_recipe
from runner.train.data.mixture import load_data
from support.doc_data import documented_recipes, with_stand_ins

RECIPES = documented_recipes()


@pytest.mark.parametrize(("page", "text"), RECIPES, ids=[f"{page}-{n}" for n, (page, _) in enumerate(RECIPES)])
def test_the_data_of_each_recipe_in_the_documentation_can_be_trained_on(tmp_path: Path, page: str, text: str) -> None:
    """Files stand in for data of the hub, with the same columns."""
    (tmp_path / "recipe.yaml").write_text(with_stand_ins(text, tmp_path))
    loaded = load_recipe("./recipe.yaml", cwd=tmp_path)
    for stage, sources in zip(loaded.recipe.in_order, loaded.sources, strict=True):
        data = load_data(stage, inputs=Path)
        assert len(data.train) > 0
        assert any(note for note in loaded.notes) or not any("taken as" in note for note in data.notes)
        assert all(source.entry is not None for source in sources)


def test_the_recipe_of_the_readme_mixes_conversations_and_pairs(tmp_path: Path) -> None:
    [text] = [text for page, text in RECIPES if page == "README.md"]
    (tmp_path / "recipe.yaml").write_text(with_stand_ins(text, tmp_path))
    data = load_data(load_recipe("./recipe.yaml", cwd=tmp_path).recipe, inputs=Path)
    assert data.train.column_names == ["messages"]
    assert any(note.startswith("data.train.1: taken as conversations") for note in data.notes)
