"""The sweeps in jobs/sweeps load, and say of themselves what they are."""

from pathlib import Path

import pytest

from runner.recipe.loading.finder import available_sweeps, description, find_sweep
from runner.sweeps.space.load import load_sweep
from support.sweeping.files import ON_THE_QUICKSTARTS_MODEL


@pytest.mark.parametrize("name", sorted(available_sweeps(Path("/"))))
def test_a_shipped_sweep_loads_and_describes_itself(name: str, tmp_path: Path) -> None:
    sweep = load_sweep(name, cwd=tmp_path)
    assert sweep.file.name == name
    assert sweep.metric.name == "eval_loss"
    assert sweep.file.run_cap is not None or sweep.space.grid() is not None
    assert 20 < len(description(find_sweep(name, tmp_path).read_text())) < 118
    values = sweep.space.values_at({parameter.name: 0.3 for parameter in sweep.space.drawn})
    assert sweep.space.settings(values)


@pytest.mark.parametrize("name", [name for name in sorted(available_sweeps(Path("/"))) if "quickstart" not in name])
def test_a_shipped_sweep_suits_the_quickstarts_model_too(name: str, tmp_path: Path) -> None:
    sweep = load_sweep(name, overrides=ON_THE_QUICKSTARTS_MODEL, cwd=tmp_path)
    assert sweep.recipe.recipe.model == {"model_name_or_path": "builtin:tiny-llama"}
    assert sweep.space == load_sweep(name, cwd=tmp_path).space
    assert sweep.rungs == load_sweep(name, cwd=tmp_path).rungs


@pytest.mark.parametrize(
    ("name", "cap", "rungs", "ranges", "choices"),
    [
        (
            "deepseek-r1-qwen3-8b-bayes",
            3,
            (1500,),
            {"learning_rate": (5e-6, 2e-4)},
            {"gradient_accumulation_steps": [4, 8], "lora_dropout": [0.05, 0.1], "weight_decay": [0.01, 0.05]},
        ),
        (
            "deepseek-r1-qwen3-8b-overfitting",
            3,
            (1500,),
            {"learning_rate": (1e-6, 1e-4)},
            {
                "gradient_accumulation_steps": [8, 16],
                "lora_dropout": [0.1, 0.15, 0.2],
                "weight_decay": [0.05, 0.1],
                "lora_r": [8, 16],
            },
        ),
        (
            "deepseek-r1-qwen3-8b-faster",
            3,
            (1500,),
            {"learning_rate": (1e-5, 3e-4)},
            {
                "gradient_accumulation_steps": [4],
                "lora_dropout": [0.05],
                "weight_decay": [0.01],
                "warmup_steps": [0.03, 0.06],
            },
        ),
        (
            "deepseek-r1-qwen3-8b-architecture",
            3,
            (1500,),
            {"learning_rate": (5e-6, 2e-4)},
            {"lora_r": [8, 16, 32], "lora_alpha": [16, 32], "lora_dropout": [0.05, 0.1]},
        ),
        (
            "llama-3.2-1b-halving",
            None,
            (30, 60, 120),
            {},
            {
                "learning_rate": [1e-4, 2e-4, 3e-4, 5e-4],
                "lr_scheduler_type": ["linear", "cosine", "constant"],
                "per_device_train_batch_size": [1, 2, 4],
                "gradient_accumulation_steps": [2, 4, 8],
            },
        ),
    ],
)
def test_a_shipped_sweep_searches_this_space(
    name: str,
    cap: int | None,
    rungs: tuple[int, ...],
    ranges: dict[str, tuple[float, float]],
    choices: dict[str, list[object]],
    tmp_path: Path,
) -> None:
    sweep = load_sweep(name, cwd=tmp_path)
    drawn = {one.name: one.distribution for one in sweep.space.parameters}
    assert drawn.keys() == {*ranges, *choices}
    assert {key: drawn[key].values() for key in choices} == choices
    assert {key: (drawn[key].settings["min"], drawn[key].settings["max"]) for key in ranges} == ranges
    assert (sweep.file.run_cap, sweep.rungs) == (cap, rungs)


def test_the_costs_that_the_halving_sweeps_state_are_right(tmp_path: Path) -> None:
    whole, cheaper = (load_sweep(f"llama-3.2-1b-halving{one}", cwd=tmp_path) for one in ("", "-cheaper"))
    grid = whole.space.grid()
    assert grid is not None
    points = [grid.point(index) for index in range(grid.size)]
    rows = [point["per_device_train_batch_size"] * point["gradient_accumulation_steps"] for point in points]
    assert (grid.size, grid.size * 120, round(sum(rows) / len(rows), 1)) == (108, 12_960, 10.9)
    assert (min(rows), max(rows)) == (2, 32)

    def steps(trials: int, rungs: tuple[int, ...], eta: int) -> int:
        done, total = 0, 0
        for rung in rungs:
            total += trials * (rung - done)
            done, trials = rung, trials // eta
        return total

    mean = sum(rows) / len(rows)
    assert (steps(108, whole.rungs, 3), round(5040 * mean, -3)) == (5_040, 55_000)
    assert (steps(108, (10, 40, 120), 4), round(2370 * mean, -2)) == (2_370, 25_800)
    assert (cheaper.file.run_cap, steps(27, cheaper.rungs, 3), round(1260 * mean, -2)) == (27, 1_260, 13_700)
    assert round(12_960 * mean, -3) == 141_000
    assert cheaper.space == whole.space
    for sweep in (whole, cheaper):
        text = sweep.path.read_text()
        assert all(figure in text for figure in ("1,260", "5,040", "12,960", "10.9")), sweep.path
