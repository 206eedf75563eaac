"""The fit, applied on the machine: on a CPU nothing, on a GPU what its kind always gets."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.integrations import sdpa_attention
from transformers.models.llama import LlamaConfig, LlamaForCausalLM

from runner.fit.accelerators import ACCELERATORS, identify_accelerator
from runner.fit.model_shape import bundled_config
from runner.recipe.recipe import Data, DataSource, Recipe
from runner.runs.attempts import Claim, attempts, claim_attempt, fits_so_far, write_fit
from runner.storage.local import LocalStore
from runner.train.devices import apply_fit as module
from runner.train.devices.apply_fit import apply_fit, avoid_math_attention, with_usual_memory
from runner.train.stages import prepare

RECIPE = Recipe(
    name="r",
    method="sft",
    model={"model_name_or_path": "unsloth/Llama-3.2-1B-Instruct"},
    data=Data(train=(DataSource(path="a/b"),)),
    adapter={"r": 16, "target_modules": "all-linear"},
    training={"effective_batch_size": 16, "max_length": 2048},
)
CONFIG = bundled_config("unsloth/Llama-3.2-1B-Instruct") or {}


@dataclass(frozen=True)
class Attempt:
    """The part of an `AttemptContext` that the fit looks at."""

    store: Any
    claim: Claim
    cache: Path

    def retry(self, call: Callable[[], Any]) -> Any:
        """Make the request: the store is there."""
        return call()


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines that a person reads of the fit since the last call."""
    lines = [record.getMessage() for record in caplog.records if record.name == module.logger.name]
    caplog.clear()
    return lines


@pytest.fixture(autouse=True)
def _from_info_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, module.logger.name)


def applied(gpu: str, recipe: Recipe = RECIPE, **more: Any) -> tuple[Recipe, dict[str, Any]]:
    """The recipe on one GPU."""
    return apply_fit(recipe, CONFIG, ACCELERATORS[gpu], **{"devices": 1, "nodes": 1, **more})


def test_a_recipe_gets_what_its_gpu_needs_and_a_line_says_so(caplog: pytest.LogCaptureFixture) -> None:
    on_t4, record = applied("T4")
    assert on_t4.training["fp16"] is True
    assert on_t4.model["dtype"] == "float16"
    assert on_t4.training["per_device_train_batch_size"] * on_t4.training["gradient_accumulation_steps"] == 16
    assert on_t4.training["effective_batch_size"] == 16
    first, second = logged(caplog)
    assert first.startswith("fit: T4:1: fp16, micro-batch 2 x accumulation 8, no checkpointing; about ")
    assert second == "fit: T4 has no bfloat16: float16 with loss scaling"
    assert json.loads(json.dumps(record)) == record
    on_a100, _ = applied("A100")
    assert on_a100.training["bf16"] is True
    assert {key: on_a100.training[key] for key in RECIPE.training} == dict(RECIPE.training)


def test_what_does_not_fit_is_tried_in_the_smallest_way_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    large = replace(RECIPE, model={"model_name_or_path": "Qwen/Qwen3-8B"}, adapter=None)
    on_t4, record = apply_fit(large, bundled_config("Qwen/Qwen3-8B") or {}, ACCELERATORS["T4"], devices=1, nodes=1)
    assert not record["fits"]
    assert on_t4.training["per_device_train_batch_size"] == 1
    assert on_t4.training["gradient_checkpointing"] is True
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert caplog.messages[0].startswith("T4:1: needs ")


def test_a_later_attempt_on_the_same_gpus_takes_the_same_split(caplog: pytest.LogCaptureFixture) -> None:
    before = {"accelerators": "A100:1", "nodes": 1, "settings": {"training.per_device_train_batch_size": 1}}
    again, record = applied("A100", earlier=[before])
    assert again.training["per_device_train_batch_size"] == 1
    assert record["settings"] == before["settings"]
    assert logged(caplog) == ["fit: A100:1: as the attempts before: per_device_train_batch_size 1"]
    elsewhere, _ = applied("L4", earlier=[before])
    assert elsewhere.training["per_device_train_batch_size"] == 4


def test_gpus_of_a_kind_are_fitted_alike_whatever_their_driver_keeps() -> None:
    one = with_usual_memory(identify_accelerator("Tesla T4", 14.74, (7, 5)))
    other = with_usual_memory(identify_accelerator("Tesla T4", 14.57, (7, 5)))
    assert one == other == ACCELERATORS["T4"]
    part = with_usual_memory(identify_accelerator("NVIDIA A100-SXM4-40GB MIG 1g.5gb", 4.75, (8, 0)))
    assert part.memory_gib == 4.75


def test_on_a_cpu_nothing_changes() -> None:
    assert not torch.cuda.is_available()
    attempt: Any = None
    assert prepare.fit_to_device(attempt, RECIPE) is RECIPE


def test_a_fit_is_recorded_with_the_attempt_and_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With a GPU that this machine has not: all but the driver is real."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(prepare, "detect_accelerator", lambda: ACCELERATORS["A100"])
    store = LocalStore(tmp_path / "store")
    stage = replace(RECIPE, model={"model_name_or_path": "builtin:tiny-llama"}, stage="second")

    def attempt() -> Any:
        claim = claim_attempt(store, "run", {})
        context: Any = Attempt(store=store, claim=claim, cache=tmp_path)
        return prepare.fit_to_device(context, stage)

    first = attempt()
    assert (first.training["per_device_train_batch_size"], first.training["bf16"]) == (16, True)
    beginning = "fit: A100:1: bf16, micro-batch 16 x accumulation 1, no checkpointing; about "
    assert [line.startswith(beginning) for line in logged(caplog)] == [True]
    [record] = fits_so_far(store, Claim("run", 2, "0002-aaaa"), "second")
    assert (record["accelerators"], record["fits"]) == ("A100:1", True)
    assert attempt() == first
    assert fits_so_far(store, Claim("run", 2, "0002-aaaa"), "first") == []


def test_fits_are_kept_beside_an_attempts_other_records(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    first = claim_attempt(store, "run", {})
    write_fit(store, first, "sft", {"accelerators": "T4:1", "settings": {"a": 1}})
    write_fit(store, first, "dpo", {"accelerators": "T4:1", "settings": {"a": 2}})
    write_fit(store, first, "sft", {"accelerators": "T4:1", "settings": {"a": 3}})
    assert fits_so_far(store, first, "sft") == []
    second = claim_attempt(store, "run", {})
    assert [one["settings"] for one in fits_so_far(store, second, "sft")] == [{"a": 1}]
    assert [one["settings"] for one in fits_so_far(store, second, "dpo")] == [{"a": 2}]
    assert [one.number for one in attempts(store, "run")] == [1, 2]
    store.put("runs/run/attempts/0002.fit-sft.json", b"{")
    assert [one["settings"] for one in fits_so_far(store, Claim("run", 3, "0003-aaaa"), "sft")] == [{"a": 1}]


def small() -> Any:
    """A model with two key heads for four query heads."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    return LlamaForCausalLM(config)


def test_keys_are_repeated_instead_of_asking_torch_to(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokens = small(), torch.arange(16).reshape(1, 16)
    asked: list[bool] = []
    kernel = torch.nn.functional.scaled_dot_product_attention

    def watched(*tensors: Any, **options: Any) -> Any:
        asked.append(bool(options.get("enable_gqa")))
        return kernel(*tensors, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    expected = model(tokens).logits
    monkeypatch.setattr(sdpa_attention, "use_gqa_in_sdpa", sdpa_attention.use_gqa_in_sdpa)
    avoid_math_attention()
    assert torch.allclose(model(tokens).logits, expected, atol=1e-5)
    assert asked == [True, False]


@pytest.mark.gpu
def test_the_gpu_at_hand_is_recognized() -> None:
    accelerator = module.detect_accelerator()
    assert accelerator.memory_gib > 1
    assert accelerator.capability >= (7, 0)
