"""Whatever a recipe switches on, a run that is killed ends as the one that is not."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer
from transformers.models.auto.modeling_auto import AutoModelForCausalLM
from transformers.models.llama import LlamaConfig, LlamaForCausalLM

from runner.recipe.recipe import Checkpoint, Data, DataSource, Export, Recipe
from runner.runs.layout import run_key
from runner.storage.open import open_store
from runner.train.builtin.catalog import materialize
from support.forked import Attempts, Moment
from support.method_recipes import SFT_STEP
from support.runs import NEVER_EVALUATED, assert_survives, check_metrics, recipe
from support.thorough import cases

# 81 rows make 41 micro-batches (the last of one row) and, by four, 11 updates (the last of one micro-batch) an epoch.
EPOCHS = {"max_steps": -1, "num_train_epochs": 2, "gradient_accumulation_steps": 4}
CASES: dict[str, dict[str, Any]] = {
    "evaluated and saved by the epoch": {**EPOCHS, "eval_strategy": "epoch", "save_strategy": "epoch"},
    "epochs that end within a save": EPOCHS,
    "packed": {"packing": True, "max_length": 64},
    "noise in the embeddings": {"neftune_noise_alpha": 5},
    "another optimizer": {"optim": "adafactor", "weight_decay": 0.1},
    "a scheduler with a memory": {"lr_scheduler_type": "reduce_lr_on_plateau", "greater_is_better": False},
    "batches of like lengths": {"train_sampling_strategy": "group_by_length"},
    "loading in another process": {"dataloader_num_workers": 1},
    "no best model": {"load_best_model_at_end": False, "early_stopping_patience": None, "metric_for_best_model": None},
    "no evaluation while training": NEVER_EVALUATED,
    "checkpointed activations": {"gradient_checkpointing": True},
}


def with_data(what: Recipe, data: Path) -> Recipe:
    """`what` on a mixture of 30 and 60 rows, of which 9 are held out."""
    sources = (
        DataSource(path=str(data), format="prompt_completion", sample=0.5),
        DataSource(path=str(data), format="prompt_completion"),
    )
    return replace(what, data=Data(train=sources, eval_from_train=9))


# What decides which rows come next, and what is evaluated and saved when.
QUICK = (
    "evaluated and saved by the epoch",
    "packed",
    "batches of like lengths",
)


@pytest.mark.parametrize("case", cases(CASES, quick=lambda case: case in QUICK))
def test_with_these_settings_a_killed_run_ends_the_same(case: str, forked: Attempts, data: Path) -> None:
    what = recipe(data, adapter=False, **CASES[case])
    what = replace(what, training={key: value for key, value in what.training.items() if value is not None})
    by_epoch = what.training.get("save_strategy") == "epoch"
    if by_epoch:
        what = replace(what, checkpoint=Checkpoint(save_steps=None, save_minutes=None, save_total_limit=2))
    else:
        what = with_data(what, data)
    moments = [Moment(SFT_STEP, 40 if by_epoch else 17, saves=1), *([] if by_epoch else [Moment(SFT_STEP, 5)])]
    assert_survives(forked, case.replace(" ", "-"), what, *moments)


@pytest.mark.parametrize(
    "adapter",
    [
        pytest.param({"use_dora": True}, id="dora", marks=pytest.mark.thorough),
        pytest.param(
            {"use_rslora": True, "modules_to_save": ["lm_head"]}, id="rslora-and-head", marks=pytest.mark.thorough
        ),
    ],
)
def test_with_such_an_adapter_a_killed_run_ends_the_same(adapter: dict[str, Any], forked: Attempts, data: Path) -> None:
    what = recipe(data, adapter=True)
    assert what.adapter is not None
    what = replace(what, adapter={**what.adapter, **adapter})
    assert_survives(forked, "-".join(adapter).replace("_", "-"), what, Moment(SFT_STEP, 17, saves=1))


def test_an_adapter_on_four_bits_ends_the_same_and_merges_into_the_unquantized_base(
    forked: Attempts, data: Path
) -> None:
    """QLoRA."""
    what = recipe(data, adapter=True)
    quantized = {**what.model, "load_in_4bit": True, "bnb_4bit_use_double_quant": True}
    assert_survives(
        forked, "qlora", replace(what, model=quantized, export=Export(merge=True)), Moment(SFT_STEP, 17, saves=1)
    )
    store = open_store(forked.store_url)
    artifacts = json.loads(store.get(run_key("qlora-killed", "result.json")))["artifacts"]
    merged = AutoModelForCausalLM.from_pretrained(Path(forked.store_url) / run_key("qlora-killed", artifacts["merged"]))
    assert not getattr(merged, "is_loaded_in_4bit", False)
    assert {parameter.dtype for parameter in merged.parameters()} == {torch.float32}


@pytest.mark.thorough
def test_a_model_that_stretches_its_positions_ends_the_same(forked: Attempts, data: Path, tmp_path: Path) -> None:
    """The longest text lies before the kill."""
    tokenizer = AutoTokenizer.from_pretrained(materialize("builtin:tiny-llama", tmp_path))
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=16,
        rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10_000.0},
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    what = recipe(data, adapter=False, max_length=128, learning_rate=1e-2)
    what = replace(what, model={"model_name_or_path": str(tmp_path / "model")})
    assert_survives(forked, "stretched", what, Moment(SFT_STEP, 17, saves=1))


def test_a_run_that_stops_early_stops_at_the_same_step(forked: Attempts, data: Path) -> None:
    """The evaluations that it was patient through lie before the kill."""
    what = recipe(data, adapter=False, eval_steps=2, early_stopping_patience=3)  # "greater is better", and it falls
    ended = assert_survives(forked, "early", what, Moment(SFT_STEP, 15, saves=1))
    assert ended["step"] == 8, "the best is that of step 2, and three evaluations are no better"
    assert ended["max_steps"] == 12
    assert ended["best"]["step"] == 2
    check_metrics(ended["metrics"], steps=8)
