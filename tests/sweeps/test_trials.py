"""A trial is the run that a launch with the same values would be, on whatever machine it is made."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.errors import UserError
from runner.recipe.loading.load import LoadedRecipe, load_recipe
from runner.runs.inputs import fetch_input
from runner.runs.record_types.run import RunDocument
from runner.runs.records import run_document
from runner.runs.submission.portable import PortableRecipe, portable_recipe
from runner.runs.submission.prepare import prepare
from runner.storage.manifest import Damaged
from runner.sweeps.definition import Definition
from runner.sweeps.layout import trial_run_id
from runner.sweeps.trials import create_trial, trial_document
from support.fakes.memory_store import MemoryStore
from support.sweeping.definitions import make_definition

ROWS = "".join(json.dumps({"prompt": f"{n}", "completion": "b"}) + "\n" for n in range(8))
PLAIN = """
name: small
method: sft
model: {model_name_or_path: "builtin:tiny-llama"}
data: {train: [{path: train.jsonl}], eval: [{path: ../test.jsonl}]}
adapter: {r: 8}
training: {max_steps: 3, per_device_train_batch_size: 1, save_steps: 2, eval_strategy: epoch}
"""
REWARDED = """
name: rewarded
method: grpo
model: {model_name_or_path: "builtin:tiny-llama"}
data: {train: [{path: "builtin:arithmetic"}]}
training: {max_steps: 3, reward_funcs: ["rewards.py:right", "builtin:length"]}
"""
STAGED = """
name: staged
model: {model_name_or_path: ./model}
training: {max_steps: 3, learning_rate: 1.0e-5}
stages:
  - {method: sft, data: {train: [{path: train.jsonl}]}}
  - {method: grpo, data: {train: [{path: "builtin:arithmetic"}]}, training: {reward_funcs: ["rewards.py:right"]}}
"""
ON_MACHINES = """
name: remote
method: sft
model: {model_name_or_path: "builtin:tiny-llama"}
data: {train: [{path: ./folder}]}
training: {max_steps: 3, chat_template_path: chat.jinja, deepspeed: zero.json}
sky: {workdir: ., file_mounts: {/data: ./folder}}
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The folder of a recipe on the machine of the launch."""
    folder = tmp_path / "laptop/recipes"
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_text(ROWS)
    (folder / "other.jsonl").write_text(ROWS * 2)
    (folder.parent / "test.jsonl").write_text(ROWS)
    (folder / "rewards.py").write_text("def right(completions, **columns):\n    return [0.0 for _ in completions]\n")
    (folder / "folder").mkdir()
    (folder / "folder/rows.jsonl").write_text(ROWS)
    (folder / "chat.jinja").write_text("{{ messages }}")
    (folder / "zero.json").write_text('{"zero_optimization": {"stage": 2}}')
    (folder / "model").mkdir()
    (folder / "model/config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    (folder / "model/model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    (folder / "model/tokenizer.json").write_text("{}")
    return folder


def load(here: Path, text: str, *overrides: str) -> LoadedRecipe:
    (here / "recipe.yaml").write_text(text)
    return load_recipe("./recipe.yaml", overrides=overrides, cwd=here)


def uploaded(store: MemoryStore, portable: PortableRecipe) -> Definition:
    for key, path in portable.inputs.items():
        store.upload(f"sweeps/search/{key}", path)
    return make_definition(sweep_id="search", recipe=json.loads(json.dumps(portable.to_mapping())))


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        (PLAIN, {"training.learning_rate": 3e-4, "adapter.r": 16}),
        (PLAIN, {"checkpoint.save_steps": 1}),
        (PLAIN, {"training.save_steps": 1}),
        (PLAIN, {"training.effective_batch_size": 4}),
        (PLAIN.replace("train.jsonl", "inputs/of-the-hub"), {"training.learning_rate": 1e-3}),
        (REWARDED, {"training.num_generations": 4, "training.beta": 0.1}),
        (STAGED, {"training.learning_rate": 1e-4, "stages.grpo.training.beta": 0.2}),
        (ON_MACHINES, {"training.weight_decay": 0.01}),
    ],
)
def test_a_trial_has_the_digest_of_a_launch_with_the_same_values(
    memory: MemoryStore, here: Path, tmp_path: Path, text: str, drawn: dict[str, Any]
) -> None:
    launched = prepare(load(here, text, *(f"{key}={json.dumps(value)}" for key, value in drawn.items())))
    definition = uploaded(memory, portable_recipe(load(here, text), cwd=here))
    if text is not STAGED and text is not ON_MACHINES:
        shutil.rmtree(here)  # these name folders, which stay where they are
    run_id = create_trial(memory, definition, 7, drawn, folder=tmp_path / "worker")
    made = run_document(memory, run_id)
    assert made["digest"] == launched.digest
    assert made["recipe"] == launched.recipe
    assert made["settings"].keys() == launched.settings.keys()
    assert {key for key, setting in made["settings"].items() if setting["source"] == "sweep"} == {
        key for key, setting in launched.settings.items() if setting["source"] == "--set"
    }


def test_a_trial_tells_its_sweep_its_number_and_what_was_drawn(memory: MemoryStore, here: Path, tmp_path: Path) -> None:
    definition = uploaded(memory, portable_recipe(load(here, PLAIN), cwd=here))
    values = {"optimizer": {"training.learning_rate": 1e-3, "training.lr_scheduler_type": "cosine"}}
    run_id = create_trial(memory, definition, 7, values, settings=values["optimizer"], folder=tmp_path)
    assert run_id == trial_run_id("search", 7) == "search-0007"
    document = run_document(memory, run_id)
    assert document["sweep"] == {"sweep_id": "search", "trial": 7, "parameters": values}
    assert document["name"] == "small"
    assert document["settings"]["training.lr_scheduler_type"] == {"value": "cosine", "source": "sweep"}


def test_changes_of_the_command_line_keep_their_source(memory: MemoryStore, here: Path, tmp_path: Path) -> None:
    loaded = load(here, PLAIN, "training.max_steps=9", "data.train.0.path=other.jsonl")
    definition = uploaded(memory, portable_recipe(loaded, cwd=here))
    settings = trial_document(
        definition,
        0,
        {"training.learning_rate": 1e-3},
        folder=tmp_path,
        fetch=lambda key: fetch_from_sweep(memory, key, tmp_path),
    )["settings"]
    assert settings["training.max_steps"] == {"value": 9, "source": "--set"}
    assert settings["training.learning_rate"] == {"value": 1e-3, "source": "sweep"}
    assert settings["adapter.r"]["source"] == "recipe"


def fetch_from_sweep(store: MemoryStore, key: str, folder: Path) -> Path:
    path = folder / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(store.get(f"sweeps/search/{key}"))
    return path


def test_the_inputs_of_a_trial_are_its_sweeps(memory: MemoryStore, here: Path, tmp_path: Path) -> None:
    definition = uploaded(memory, portable_recipe(load(here, PLAIN), cwd=here))
    run_id = create_trial(memory, definition, 0, {}, folder=tmp_path / "worker")
    key = run_document(memory, run_id)["recipe"]["data"]["train"][0]["path"]
    assert not any(name.startswith(f"runs/{run_id}/inputs/") for name in memory.data)
    assert fetch_input(memory, run_id, key, tmp_path / "other").read_text() == ROWS
    memory.data[f"sweeps/search/{key}"] = b"{}"
    with pytest.raises(Damaged, match="altered after the launch"):
        fetch_input(memory, run_id, key, tmp_path / "third")


def test_an_input_that_was_altered_in_the_store_makes_no_trial(memory: MemoryStore, here: Path, tmp_path: Path) -> None:
    definition = uploaded(memory, portable_recipe(load(here, REWARDED), cwd=here))
    altered = next(key for key in memory.data if key.endswith("rewards.py"))
    memory.data[altered] = b"import os\n"
    with pytest.raises(Damaged, match="altered after the launch"):
        create_trial(memory, definition, 0, {}, folder=tmp_path)
    assert not any(key.startswith("runs/") for key in memory.data)


def test_a_drawn_file_travels_too(memory: MemoryStore, here: Path, tmp_path: Path) -> None:
    choices = [{"data.train.0.path": "other.jsonl"}, {"data.train": [{"path": "train.jsonl"}]}, {"adapter.r": 4}]
    portable = portable_recipe(load(here, PLAIN), drawn=choices, cwd=here)
    launched = prepare(load(here, PLAIN, "data.train.0.path=other.jsonl"))
    definition = uploaded(memory, portable)
    shutil.rmtree(here)
    run_id = create_trial(memory, definition, 1, choices[0], folder=tmp_path)
    assert run_document(memory, run_id)["digest"] == launched.digest
    create_trial(memory, definition, 2, choices[1], folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        (PLAIN, {"data.train.0.path": "./folder"}),
        (REWARDED, {"training.reward_funcs": ["rewards.py:other"]}),
        (ON_MACHINES, {"training.deepspeed": "./zero3.json"}),
        (ON_MACHINES, {"training.chat_template_path": "./other.jinja"}),
        (PLAIN, {"model.model_name_or_path": "./model"}),
    ],
)
def test_what_a_drawn_value_names_is_what_a_launch_would_take(
    memory: MemoryStore, here: Path, tmp_path: Path, text: str, drawn: dict[str, Any]
) -> None:
    (here / "rewards.py").write_text("def right(**columns):\n    return []\n\ndef other(**columns):\n    return []\n")
    (here / "zero3.json").write_text('{"zero_optimization": {"stage": 3}}')
    (here / "other.jinja").write_text("{{ messages[0] }}")
    definition = uploaded(memory, portable_recipe(load(here, text), drawn=[drawn], cwd=here))
    launched = prepare(load(here, text, *(f"{key}={json.dumps(value)}" for key, value in drawn.items())))
    made = run_document(memory, create_trial(memory, definition, 1, drawn, folder=tmp_path / "worker"))
    assert (made["recipe"], made["digest"]) == (launched.recipe, launched.digest)


def test_a_trial_is_created_once(memory: MemoryStore, here: Path, tmp_path: Path) -> None:
    definition = uploaded(memory, portable_recipe(load(here, PLAIN), cwd=here))
    create_trial(memory, definition, 3, {"adapter.r": 4}, folder=tmp_path)
    before = dict(memory.data)
    assert create_trial(memory, definition, 3, {"adapter.r": 4}, folder=tmp_path) == "search-0003"
    assert memory.data == before


def test_another_run_of_the_trials_name_is_not_taken_for_it(memory: MemoryStore, here: Path, tmp_path: Path) -> None:
    definition = uploaded(memory, portable_recipe(load(here, PLAIN), cwd=here))
    document: RunDocument = trial_document(
        definition, 3, {}, folder=tmp_path, fetch=lambda key: fetch_from_sweep(memory, key, tmp_path)
    )
    memory.create(
        "runs/search-0003/run.json", json.dumps({**document, "sweep": {"sweep_id": "search", "trial": 30}}).encode()
    )
    with pytest.raises(UserError, match="not trial 3"):
        create_trial(memory, definition, 3, {}, folder=tmp_path)


def test_a_value_that_the_recipe_refuses_is_named(memory: MemoryStore, here: Path, tmp_path: Path) -> None:
    definition = uploaded(memory, portable_recipe(load(here, PLAIN), cwd=here))
    with pytest.raises(UserError) as refused:
        create_trial(memory, definition, 3, {"adapter.r": 0}, folder=tmp_path)
    assert "the sweep's adapter.r" in str(refused.value)


def test_a_trial_on_machines_asks_for_them(memory: MemoryStore, here: Path, tmp_path: Path) -> None:
    made = uploaded(memory, portable_recipe(load(here, PLAIN), cwd=here))
    machines = {"infra": "aws", "resources": {"accelerators": "L4:1"}, "accelerators": {"L4": 1.0}, "num_nodes": 1}
    definition = replace(made, image="registry/x@sha256:" + "0" * 64, **machines)  # type: ignore[arg-type]
    document = run_document(memory, create_trial(memory, definition, 0, {}, folder=tmp_path))
    assert {key: document[key] for key in machines} == machines  # type: ignore[literal-required]
    assert document["image"] == definition.image
