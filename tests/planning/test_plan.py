"""The plan: what fits by what it costs, what does not with the reason, and its times and prices in proportion."""

from dataclasses import replace
from pathlib import Path

import pytest

from runner.backends.skypilot.resources import ResourceOptions, resolve_resources
from runner.control.launching.cost import estimate_cost
from runner.fit.accelerators import ACCELERATORS
from runner.fit.model_shape import bundled_config
from runner.fit.throughput import DATASET_ROWS, SPOT_OVERHEAD, spot_overhead
from runner.planning.plan import Row, dollar_range, hours_in_words, hours_range, plan, plan_line
from runner.planning.prices import Offer, Prices, snapshot
from runner.recipe.recipe import Checkpoint, Data, DataSource, Recipe
from runner.train.builtin.catalog import builtin_dataset

LORA = Recipe(
    name="r",
    method="sft",
    model={"model_name_or_path": "unsloth/Llama-3.2-1B-Instruct"},
    data=Data(train=(DataSource(path="mlabonne/FineTome-100k"),)),
    adapter={"r": 16, "target_modules": "all-linear"},
    training={"effective_batch_size": 16, "max_length": 2048, "max_steps": 1000},
)


def rows(recipe: Recipe, *gpus: tuple[str, int], spot: bool = False, nodes: int = 1) -> list[Row]:
    config = bundled_config(str(recipe.model["model_name_or_path"]))
    assert config is not None
    wanted = [(ACCELERATORS[name], count) for name, count in gpus]
    return plan(recipe, config, snapshot(), wanted=wanted, nodes=nodes, spot=spot)


def test_the_cheapest_comes_first_and_what_does_not_fit_last() -> None:
    found = rows(replace(LORA, model={"model_name_or_path": "Qwen/Qwen3-8B"}, adapter=None))
    fits = [row.fit.fits for row in found]
    assert fits == sorted(fits, reverse=True)
    assert False in fits
    costs = [row.cost[0] * row.cost[1] for row in found if row.cost]
    assert costs == sorted(costs)
    assert {row.fit.accelerators.partition(":")[0] for row in found} == set(ACCELERATORS)


def test_each_gpu_is_planned_with_the_smallest_number_that_fits() -> None:
    found = rows(LORA)
    assert {row.fit.devices for row in found if row.fit.accelerators.startswith("L4:")} == {1}


def test_a_row_has_what_programs_read() -> None:
    for row in rows(LORA, ("A100", 8), ("T4", 1)):
        record = row.as_json()
        assert {"accelerators", "infra", "fits", "reason", "memory_gib", "micro_batch", "accumulation"} <= set(record)
        assert {"devices", "strategy", "price_per_hour", "hours", "cost"} <= set(record)
        low, high = record["hours"]
        assert 0 < low < high
        assert record["cost"] == pytest.approx([record["price_per_hour"] * low, record["price_per_hour"] * high], 0.1)
        assert record["steps"] == 1000


def test_a_faster_gpu_and_fewer_tokens_take_less_time() -> None:
    def least(recipe: Recipe, gpu: str) -> float:
        time = rows(recipe, (gpu, 1))[0].time
        assert time is not None
        return time.hours[0]

    assert least(LORA, "H100") < least(LORA, "A100") < least(LORA, "T4")
    shorter = replace(LORA, training={**LORA.training, "max_length": 1024})
    assert least(shorter, "A100") < least(LORA, "A100")
    longer = replace(LORA, training={**LORA.training, "max_steps": 2000})
    assert least(LORA, "A100") < least(longer, "A100") < 2 * least(LORA, "A100")
    everything = replace(LORA, adapter=None)
    assert least(LORA, "A100-80GB") < least(everything, "A100-80GB")


def test_spot_costs_its_preemptions_too() -> None:
    [demand] = [row for row in rows(LORA, ("L4", 1)) if row.infra == "aws"]
    [spot] = [row for row in rows(LORA, ("L4", 1), spot=True) if row.infra == "aws"]
    assert spot.spot
    assert demand.time is not None
    assert spot.time is not None
    assert spot.time.hours[1] == pytest.approx(demand.time.hours[1] * 1.11)
    rarely = replace(LORA, checkpoint=Checkpoint(save_minutes=60))
    [late] = [row for row in rows(rarely, ("L4", 1), spot=True) if row.infra == "aws"]
    assert late.time is not None
    assert late.time.hours[1] == pytest.approx(demand.time.hours[1] * 1.35)


def test_saving_more_rarely_never_costs_less_on_spot() -> None:
    minutes = [1.0, *(at for at, _ in SPOT_OVERHEAD), 20.0, 45.0, 90.0, 600.0]
    overheads = [spot_overhead(each) for each in sorted(minutes)]
    assert overheads == sorted(overheads)
    assert overheads[-1] <= spot_overhead(None) == 3.0


def test_two_machines_cost_twice_as_much_an_hour() -> None:
    one, two = rows(LORA, ("A100", 8))[0], rows(LORA, ("A100", 8), nodes=2)[0]
    assert two.price_per_hour is not None
    assert one.price_per_hour is not None
    assert not two.fit.fits or two.price_per_hour == 2 * one.price_per_hour


def test_a_machine_that_nobody_offers_has_no_price() -> None:
    config = bundled_config("unsloth/Llama-3.2-1B-Instruct")
    assert config is not None
    nothing = Prices(offers=(), source="nowhere")
    [row] = plan(LORA, config, nothing, wanted=[(ACCELERATORS["T4"], 1)])
    assert (row.fit.fits, row.infra, row.cost) == (True, None, None)
    assert row.time is not None
    free = Offer(infra="x", region="y", accelerator="T4", count=1, instance_type="z", price=None, spot=None)
    [row] = plan(LORA, config, replace(nothing, offers=(free,)), wanted=[(ACCELERATORS["T4"], 1)])
    assert row.infra is None


def test_data_of_unknown_size_is_assumed_and_said() -> None:
    training = {"effective_batch_size": 16, "max_length": 2048, "num_train_epochs": 1}
    unknown = replace(LORA, training=training, data=Data(train=(DataSource(path="someone/rows"),)))
    time = rows(unknown, ("A100", 1))[0].time
    assert time is not None
    assert time.steps == 625
    assert time.assumptions == ("10000 rows of training data, since their number is not known here",)
    known = replace(LORA, training=training)
    time = rows(known, ("A100", 1))[0].time
    assert time is not None
    assert (time.steps, time.assumptions) == (6250, ())


def test_stages_take_as_long_as_all_of_them() -> None:
    staged = replace(LORA, stages=(replace(LORA, stage="one"), replace(LORA, stage="two")))
    single, double = rows(LORA, ("A100", 1))[0].time, rows(staged, ("A100", 1))[0].time
    assert single is not None
    assert double is not None
    assert double.steps == 2 * single.steps
    assert single.hours[1] < double.hours[1] < 2 * single.hours[1]


def test_built_in_data_have_about_as_many_rows_as_is_written() -> None:
    for name in ("builtin:arithmetic", "builtin:python-docstrings"):
        assert DATASET_ROWS[name] == pytest.approx(len(builtin_dataset(name, where="")), rel=0.1)


def test_a_launch_is_expected_to_cost_what_its_cheapest_machine_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    asked = resolve_resources(
        {"use_spot": True}, ResourceOptions(gpus=("A100:8", "L4"), infra=("aws", "gcp/us-central1"))
    )
    row = estimate_cost(LORA, asked)
    assert row is not None
    assert (row.fit.accelerators, row.infra, row.spot) == ("L4:1", "gcp", True)
    only = estimate_cost(LORA, resolve_resources({}, ResourceOptions(gpus=("A100:8",), infra=("aws",), nodes=2)))
    assert only is not None
    assert (only.fit.nodes, only.price_per_hour) == (2, pytest.approx(2 * 21.95764))
    assert estimate_cost(LORA, resolve_resources({}, ResourceOptions(gpus=("L4",), infra=("slurm/here",)))) is None
    assert estimate_cost(LORA, resolve_resources({}, ResourceOptions(infra=("aws",)))) is None
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert estimate_cost(replace(LORA, model={"model_name_or_path": "someone/model"}), asked) is None


def test_a_row_is_said_in_one_line() -> None:
    line = plan_line(next(row for row in rows(LORA, ("A100", 8), spot=True) if row.infra == "aws"))
    assert line.startswith(
        "A100:8 on aws (spot): bf16, micro-batch 2 x accumulation 1 x 8 GPUs, no checkpointing, ddp;"
    )
    assert line.endswith("at $9.00/h")
    refused = rows(replace(LORA, model={"model_name_or_path": "Qwen/Qwen3-8B"}), ("T4", 1))[0]
    assert plan_line(refused).startswith("T4:1: does not fit: needs ")


def test_ranges_read_well() -> None:
    assert [hours_range(each) for each in ((0.1, 0.5), (1.2, 4.0), (9.96, 40.2))] == [
        "6-30 min",
        "1.2-4.0 h",
        "10.0-40 h",
    ]
    assert [dollar_range(each) for each in ((0.05, 0.2), (12.3, 48.1))] == ["$0.05-0.20", "$12-48"]


def test_a_range_is_said_with_its_middle() -> None:
    assert hours_in_words((1.2, 3.4)) == "about 2.0 h (80%: 1.2-3.4 h)"
    assert hours_in_words((0.1, 0.4)) == "about 12 min (80%: 6-24 min)"
