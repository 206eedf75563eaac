"""What a sweep takes, from what one trial takes."""

from pathlib import Path

import pytest
import yaml

from runner.control.sweeping.plan import mean_rows, points_that_do_not_fit, refuse_if_nothing_fits, with_settings
from runner.errors import UserError
from runner.sweeps.space.load import LoadedSweep, load_sweep

GRID = {
    "training.per_device_train_batch_size": {"values": [1, 2, 4]},
    "training.gradient_accumulation_steps": {"values": [2, 4, 8]},
}


def load(folder: Path, parameters: dict[str, object], method: str = "grid") -> LoadedSweep:
    content = {"program": "llama-3.2-1b-finetome", "method": method, "parameters": parameters, "run_cap": 20}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(content))
    return load_sweep("./sweep.yaml", cwd=folder)


def test_steps_of_more_rows_take_longer(tmp_path: Path) -> None:
    loaded = load(tmp_path, GRID)
    # (1 + 2 + 4) / 3 * (2 + 4 + 8) / 3 rows in the mean, where the recipe has 2 * 4.
    assert mean_rows(loaded.space, loaded.recipe.recipe, grid=True) == pytest.approx((7 / 3) * (14 / 3) / 8)
    assert mean_rows(loaded.space, loaded.recipe.recipe, grid=False) == pytest.approx((7 / 3) * (14 / 3) / 8, rel=0.15)


def test_a_drawn_learning_rate_changes_no_row(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"learning_rate": {"min": 1e-5, "max": 1e-3}}, "random")
    assert mean_rows(loaded.space, loaded.recipe.recipe, grid=False) == 1.0


def test_points_of_the_grid_that_do_not_fit_are_named(tmp_path: Path) -> None:
    loaded = load(tmp_path, GRID)

    def reason(recipe: object) -> str | None:
        return "too large" if recipe.training["per_device_train_batch_size"] == 4 else None  # type: ignore[attr-defined]

    unfit = points_that_do_not_fit(loaded.space, loaded.recipe.recipe, reason)
    assert [values["training.per_device_train_batch_size"] for values, _ in unfit] == [4, 4, 4]
    refuse_if_nothing_fits(unfit, 9, where="sweep.yaml")
    with pytest.raises(UserError, match="none of the grid's 3 points fits: too large"):
        refuse_if_nothing_fits(unfit, 3, where="sweep.yaml")


def test_settings_of_a_point_take_the_place_of_the_recipes(tmp_path: Path) -> None:
    recipe = load(tmp_path, GRID).recipe.recipe
    changed = with_settings(recipe, {"adapter.r": 64, "training.max_steps": 5})
    assert changed.adapter is not None
    assert (changed.adapter["r"], changed.training["max_steps"]) == (64, 5)
    assert changed.adapter["lora_alpha"] == recipe.adapter["lora_alpha"]  # type: ignore[index]
    assert with_settings(recipe, {"adapter": None}).adapter is None
