"""A run does not succeed without having learned anything, and keeps no weights that are worth nothing."""

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from runner.errors import UserError
from runner.recipe.recipe import Checkpoint, Export, Recipe
from runner.runs.checkpoints.lineage import checkpoints
from runner.runs.layout import run_key
from runner.runs.metrics import read_metrics
from runner.storage.manifest import Manifest, ManifestFile
from runner.storage.open import open_store
from runner.train.agent.events import Events
from runner.train.builtin.catalog import materialize
from runner.train.run_eval import evaluate
from support.forked import Attempts, run_program
from support.method_recipes import METHODS, dpo, grpo
from support.runs import NEVER_EVALUATED, recipe, submit
from support.stage_recipes import stage, staged


def without_none(what: Recipe) -> Recipe:
    return replace(what, training={key: value for key, value in what.training.items() if value is not None})


def ended(forked: Attempts, run_id: str, what: Recipe) -> tuple[int, str]:
    """The exit code of a run, and its log."""
    submit(open_store(forked.store_url), run_id, without_none(what))
    return forked.run(run_id), forked.log(run_id)


def artifacts(forked: Attempts, run_id: str) -> list[str]:
    return [info.key for info in open_store(forked.store_url).objects(run_key(run_id, "artifacts/"))]


SMALL = {**NEVER_EVALUATED, "max_steps": 6, "logging_steps": 1}
NO_BATCH = {"per_device_train_batch_size": 64, "dataloader_drop_last": True}

WITHOUT_A_STEP: dict[str, Callable[[Path], Recipe]] = {
    "steps": lambda data: recipe(data, adapter=False, **SMALL, **NO_BATCH),
    "epochs": lambda data: recipe(data, adapter=False, **{**SMALL, "max_steps": -1, "num_train_epochs": 2}, **NO_BATCH),
    "packed": lambda data: recipe(data, adapter=False, **SMALL, **NO_BATCH, packing=True),
    "dpo": lambda data: replace(dpo(data, adapter=False), training={**dpo(data, adapter=False).training, **NO_BATCH}),
    "second stage": lambda data: staged(
        stage("first", data, "sft", None), stage("second", data, "sft", None, **NO_BATCH)
    ),
}


@pytest.mark.parametrize("case", WITHOUT_A_STEP)
def test_a_run_that_would_take_no_step_ends_before_it(case: str, forked: Attempts, data: Path) -> None:
    run_id = f"no-step-{case.replace(' ', '-')}"
    code, log = ended(forked, run_id, WITHOUT_A_STEP[case](data))
    assert code == 2, log
    assert "training.dataloader_drop_last: data.train has 52 rows" in log
    assert "do not fill a batch of 64" in log
    assert "Traceback" not in log
    assert not any("/model/" in key for key in artifacts(forked, run_id))


DIVERGES = {**SMALL, "learning_rate": 1e30, "warmup_steps": 3, "max_steps": 9}


@pytest.mark.parametrize("saves", [1, 100])
@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.thorough)])
def test_a_run_whose_loss_becomes_nan_fails_and_keeps_its_last_good_checkpoint(
    processes: int, saves: int, forked: Attempts, data: Path, request: pytest.FixtureRequest
) -> None:
    """It ends when it would save weights that are not finite, or after three steps."""
    run_id = f"diverges-{saves}"
    attempts = forked if processes == 1 else request.getfixturevalue("pair")
    what = recipe(data, adapter=False, **DIVERGES)
    what = replace(what, checkpoint=Checkpoint(save_steps=saves, save_minutes=None, save_total_limit=None))
    code, log = ended(attempts, run_id, what)
    assert code == 1, log
    assert "Traceback" not in log
    store = open_store(attempts.store_url)
    records = {record["step"]: record for record in read_metrics(store, run_id) if record["kind"] == "train"}
    bad = [step for step, record in records.items() if record.get("not_finite")]
    assert bad == ([3] if saves == 1 else [3, 4, 5])
    assert (records[3]["grad_norm"], records[3]["not_finite"]) == (None, {"grad_norm": "NaN"})
    assert saves == 1 or records[5]["not_finite"]["loss"] == "NaN"
    result = json.loads(store.get(run_key(run_id, "result.json")))
    assert (result["state"], "diverged" in result["reason"]) == ("failed", True)
    # The gradients of step 3 are those of the weights after step 2: finite, but huge.
    said = "the last good checkpoint is that of step 1" if saves == 1 else "there is no checkpoint from before"
    assert said in result["reason"]
    assert [name.step for name in checkpoints(store, run_id)] == ([2, 1] if saves == 1 else [])
    assert not artifacts(attempts, run_id)


@pytest.mark.parametrize("adapter", [True, False])
def test_weights_that_are_not_finite_are_never_saved(adapter: bool, forked: Attempts, data: Path) -> None:
    """Two steps are too few to end a run by its losses."""
    run_id = f"not-finite-{'adapter' if adapter else 'full'}"
    what = recipe(data, adapter=adapter, **{**SMALL, "learning_rate": 1e38, "max_grad_norm": 0.0, "max_steps": 2})
    code, log = ended(forked, run_id, replace(what, training={**what.training, "weight_decay": 100.0}))
    assert code == 1, log
    assert "the training has diverged" in log
    assert not checkpoints(open_store(forked.store_url), run_id)
    assert not artifacts(forked, run_id)


def test_a_warmup_that_outlasts_the_run_is_said_once(forked: Attempts, data: Path) -> None:
    code, log = ended(forked, "warmup", recipe(data, adapter=False, **{**SMALL, "warmup_steps": 500}))
    assert code == 0, log
    assert log.count("the warm-up takes 500 steps and the training 6 (max_steps)") == 1
    _, log = ended(forked, "warmup-share", recipe(data, adapter=False, **{**SMALL, "warmup_steps": 0.5}))
    assert "warm-up" not in log


def test_gradients_of_zero_are_said(forked: Attempts, data: Path, tmp_path: Path) -> None:
    rewards = tmp_path / "rewards.py"
    rewards.write_text("def same(completions, **kwargs):\n    return [1.0] * len(completions)\n")
    what = grpo(data, adapter=False, reward_funcs=[f"{rewards}:same"], **SMALL)
    code, log = ended(forked, "zero", what)
    assert code == 0, log
    assert log.count("warning: the completions of each prompt have all got one reward since step 1") == 1


BAD_REWARDS = {
    "scalar": ("completions, **kwargs", "1.0", "`reward` returned 1.0"),
    "infinite": ("completions, **kwargs", "[float('inf')] * len(completions)", "`reward` returned inf as a reward"),
    "none": ("completions, **kwargs", "[None] * len(completions)", "`reward` returned None for all"),
    "column": ("completions, solution, **kwargs", "[1.0]", "`reward` needs `solution`"),
}


@pytest.mark.parametrize("case", BAD_REWARDS)
def test_a_reward_function_that_cannot_teach_is_named(case: str, forked: Attempts, data: Path, tmp_path: Path) -> None:
    parameters, value, words = BAD_REWARDS[case]
    rewards = tmp_path / "rewards.py"
    rewards.write_text(f"def reward({parameters}):\n    return {value}\n")
    what = grpo(data, adapter=False, reward_funcs=[f"{rewards}:reward"], **SMALL)
    code, log = ended(forked, f"reward-{case}", what)
    assert code == 2, log
    assert words in log
    assert "Traceback" not in log


@pytest.fixture(scope="module")
def longer_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model whose tokenizer has a token that it has no embedding for."""
    folder = tmp_path_factory.mktemp("model")
    source = materialize("builtin:tiny-llama", folder)
    target = folder / "longer"
    AutoModelForCausalLM.from_pretrained(source).save_pretrained(target)
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.add_tokens(["<|new|>"])
    tokenizer.save_pretrained(target)
    return str(target)


def test_a_model_that_comes_with_weights_that_are_not_finite_is_not_trained(
    forked: Attempts, data: Path, tmp_path: Path
) -> None:
    """Also where they are frozen; no learning rate is to blame."""
    source = materialize("builtin:tiny-llama", tmp_path / "cache")
    model = AutoModelForCausalLM.from_pretrained(source)
    model.model.norm.weight.data[0] = math.inf
    model.save_pretrained(tmp_path / "model")
    AutoTokenizer.from_pretrained(source).save_pretrained(tmp_path / "model")
    what = recipe(data, adapter=True, **SMALL)
    code, log = ended(forked, "bad-base", replace(what, model={"model_name_or_path": str(tmp_path / "model")}))
    assert code == 2, log
    assert "infinite or not a number before the first step (`base_model.model.model.norm.weight`)" in log


@pytest.mark.parametrize("method", ["sft", "cpt", "dpo", "grpo"])
def test_a_token_without_an_embedding_is_named_before_the_first_step(
    method: str, forked: Attempts, data: Path, longer_tokenizer: str
) -> None:
    rows = [{**json.loads(line), "prompt": "<|new|> is what"} for line in data.read_text().splitlines()]
    path = Path(longer_tokenizer).parent / f"{method}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    what = recipe(path, adapter=False) if method == "sft" else METHODS[method][0](path)
    what = replace(what, model={**what.model, "model_name_or_path": longer_tokenizer})
    code, log = ended(forked, f"token-{method}", what)
    assert code == 2, log
    assert "data.train has tokens that the model has no embeddings for: `<|new|>`" in log
    assert "Traceback" not in log


def test_rows_longer_than_a_models_table_of_positions_are_refused(forked: Attempts, data: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(materialize("builtin:tiny-llama", tmp_path / "cache"))
    settings: dict[str, Any] = {"vocab_size": len(tokenizer), "n_embd": 16, "n_layer": 1, "n_head": 1}
    GPT2LMHeadModel(GPT2Config(n_positions=16, **settings)).save_pretrained(tmp_path / "gpt2")
    tokenizer.save_pretrained(tmp_path / "gpt2")
    what = recipe(data, adapter=False, **SMALL)
    what = replace(what, model={"model_name_or_path": str(tmp_path / "gpt2")})
    code, log = ended(forked, "positions", what)
    assert code == 2, log
    assert "data.train has rows of 32 tokens, and the model has 16 positions" in log
    assert "Write `max_length: 16` or less" in log
    generating = replace(what, training={**what.training, "max_length": 16})
    generating = replace(generating, evaluate=replace(what.evaluate, max_new_tokens=20))
    code, log = ended(forked, "positions-generated", generating)
    assert code == 2, log
    assert "evaluate.prompts" in log


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Attempts:
    """A store with a run that an older version let succeed: one weight of its adapter is not a number."""
    folder = tmp_path_factory.mktemp("poisoned")
    forked = Attempts(str(folder / "store"), folder)
    assert ended(forked, "poisoned", recipe(data, adapter=True, **{**SMALL, "max_steps": 2}))[0] == 0
    (path,) = (folder / "store").rglob("artifacts/model/*/manifest.json")
    weights = path.with_name("adapter_model.safetensors")
    tensors = load_file(weights)
    next(iter(tensors.values()))[0, 0] = math.nan
    save_file(tensors, weights, metadata={"format": "pt"})
    manifest = Manifest.parse(path.read_bytes())
    content = weights.read_bytes()
    altered = ManifestFile(weights.name, len(content), blake3(content).hexdigest())
    files = tuple(altered if file.name == weights.name else file for file in manifest.files)
    path.write_bytes(Manifest(files, manifest.metadata).to_json())
    return forked


NOT_FINITE = "has weights that are infinite or not a number"


def test_a_model_that_is_not_finite_is_not_measured(poisoned: Attempts, tmp_path: Path) -> None:
    store = open_store(poisoned.store_url)
    nobody = Events(-1)
    with pytest.raises(UserError, match=NOT_FINITE):
        evaluate(store, "poisoned", work_dir=tmp_path, cache_dir=poisoned.folder / "cache" / "runner", events=nobody)


def test_a_model_that_is_not_finite_is_not_talked_to(poisoned: Attempts, tmp_path: Path) -> None:
    command = ("--store", poisoned.store_url, "--run", "poisoned", "--cache-dir", str(tmp_path), "--cli")
    done = run_program("runner.train.run_chat", *command, said="Return")
    assert done.returncode == 2, done.stderr
    assert NOT_FINITE in done.stderr


def test_a_model_that_is_not_finite_is_not_exported(poisoned: Attempts, tmp_path: Path) -> None:
    wanted = json.dumps({**dataclasses.asdict(Export(merge=True)), "gguf": []})
    command = ("--store", poisoned.store_url, "--run", "poisoned", "--work-dir", str(tmp_path), "--export", wanted)
    done = run_program("runner.train.run_export", *command)
    assert done.returncode == 1, done.stderr
    assert NOT_FINITE in done.stderr
    assert not [key for key in artifacts(poisoned, "poisoned") if "merged" in key]
