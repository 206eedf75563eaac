"""The schema is the libraries' own, current, and its complaints say what to write instead."""

import importlib.util
import json
import subprocess
import sys
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from runner.errors import UserError
from runner.recipe.schema import SCHEMA_FILE, methods, published_schema, recipe_schema
from runner.recipe.suggestions import FORMER
from support.paths import ROOT
from support.recipes import Check, Refuse

SECTIONS = recipe_schema("sft")["properties"]
CONFIGS = {"sft": "SFTConfig", "cpt": "SFTConfig", "dpo": "DPOConfig", "grpo": "GRPOConfig"}
OURS = {
    "reward_funcs",
    "strategy",
    "effective_batch_size",
    "early_stopping_patience",
    "early_stopping_threshold",
    "train_on_turns",
}


@pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="the train extra is not installed")
def test_the_schema_is_current() -> None:
    """What ships is what the installed libraries' classes give."""
    generate = [sys.executable, str(ROOT / "tools/generate_schema.py"), "--check"]
    done = subprocess.run(generate, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_the_schema_is_a_schema_and_small() -> None:
    """Editors take it, and reading it costs a check next to nothing."""
    Draft202012Validator.check_schema(published_schema())
    assert published_schema()["$id"].startswith("urn:")
    assert SCHEMA_FILE.stat().st_size < 120_000


@pytest.mark.parametrize("method", methods())
def test_editors_are_told_what_a_check_says(method: str) -> None:
    """The published schema's conditions come to the same as the schema of one method that a check uses."""
    training = recipe_schema(method)["properties"]["training"]["properties"]
    everywhere = {name: schema for other in methods().values() for name, schema in other["properties"].items()}
    published, checked = Draft202012Validator(published_schema()), Draft202012Validator(recipe_schema(method))
    for name in everywhere:
        recipe = {"method": method, "model": {"model_name_or_path": "x"}, "data": {"train": [{"path": "x"}]}}
        for value in (1, "x", {"no": {"such": "value"}}):
            recipe["training"] = {name: value}
            assert published.is_valid(recipe) == checked.is_valid(recipe), (name, value)
        if name not in training:
            assert not checked.is_valid(recipe), name


@pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="the train extra is not installed")
@pytest.mark.parametrize(("method", "config"), CONFIGS.items())
def test_each_method_takes_its_own_config_class(method: str, config: str) -> None:
    """All of its keys, and ours besides."""
    import dataclasses

    import trl

    names = {field.name for field in dataclasses.fields(getattr(trl, config)) if field.init}
    taken = set(recipe_schema(method)["properties"]["training"]["properties"])
    assert names <= taken
    assert taken - names <= OURS


def settings_with_defaults() -> list[tuple[str, Any]]:
    return [
        (f"{section}.{key}", schema["default"])
        for section in ("model", "adapter", "training", "checkpoint", "evaluate", "export")
        for key, schema in SECTIONS[section]["properties"].items()
        if "default" in schema
    ]


def test_every_key_of_the_libraries_is_taken_with_its_default(check: Check) -> None:
    """Who pastes a whole `SFTConfig` or `LoraConfig` is understood."""
    settings = settings_with_defaults()
    assert len(settings) > 180
    overrides = [f"{key}={json.dumps(value)}" for key, value in settings if "save_" not in key or "checkpoint" in key]
    loaded = check(*overrides, flags={"training.max_steps": 5})
    assert loaded.recipe.adapter is not None
    assert loaded.recipe.adapter["r"] == 8


@pytest.mark.parametrize("key", [key for key, _ in settings_with_defaults() if key.startswith("training.")])
def test_every_key_is_explained(key: str) -> None:
    """Editors show a sentence for each setting."""
    section, _, name = key.partition(".")
    text = SECTIONS[section]["properties"][name]["description"]
    assert text.endswith(".")
    assert len(text) < 300


@pytest.mark.parametrize(
    "override",
    [
        "training.learning_rate=1",
        "training.logging_steps=0.5",
        "training.warmup_steps=0.1",
        "training.report_to=tensorboard",
        "training.report_to=[wandb, tensorboard]",
        "training={lr_scheduler_type: cosine, lr_scheduler_kwargs: {num_cycles: 2}}",
        "training={lr_scheduler_type: cosine, lr_scheduler_kwargs: '{\"num_cycles\": 2}'}",
        "training={optim: sgd, optim_args: momentum=0.5}",
        "training.pad_to_multiple_of=8",
        "training.include_num_input_tokens_seen=true",
        "training.max_steps=60.0",
        "training.eval_strategy=no",
        "training.bf16=null",
        "training.debug=[underflow_overflow]",
        "adapter={target_modules: all-linear}",
        "adapter={target_modules: [q_proj, v_proj]}",
        "adapter={init_lora_weights: pissa_niter_4}",
        "adapter={init_lora_weights: false}",
        "adapter={lora_alpha: 16.5}",
        "adapter={trainable_token_indices: {embed_tokens: [1, 2]}}",
        "adapter={layer_replication: [[0, 4], [2, 5]]}",
        "adapter={eva_config: {rho: 3}}",
        "adapter=null",
        "resources={accelerators: 'A100:8', use_spot: true, infra: '*'}",
        "resources={accelerators: {T4: 1, L4: 1}, autostop: 10, disk_size: 100}",
        "resources={any_of: [{infra: aws, accelerators: L4}, {infra: gcp}]}",
        "resources={job_recovery: {strategy: FAILOVER}}",
    ],
)
def test_types_are_those_that_the_libraries_take(check: Check, override: str) -> None:
    """A whole number for a number, a list or one name, a mapping or its JSON."""
    assert check(override).recipe.name


def test_a_whole_number_written_as_a_float_becomes_one(check: Check) -> None:
    """60.0 is an integer in JSON Schema, and none to `range`."""
    loaded = check("training.max_steps=60.0", "training.learning_rate=1")
    assert type(loaded.recipe.training["max_steps"]) is int
    assert type(loaded.settings["training.max_steps"].value) is int


@pytest.mark.parametrize(
    ("override", "what", "remedy"),
    [
        ("training.learnin_rate=0.1", "there is no such setting (it is 0.1)", "did you mean `learning_rate`?"),
        ("learning_rate=0.1", "there is no such setting", "`learning_rate` belongs under `training:`"),
        ("training.target_modules=x", "there is no such setting", "`target_modules` belongs under `adapter:`"),
        ("data.train.0.pth=x", "there is no such setting", "did you mean `path`?"),
        ("export.quantization=q4_k_m", "there is no such setting", "write `gguf: [q4_k_m]`"),
        ("export.gguf=[q4_k_n]", "`q4_k_n` is not one of the choices", "did you mean `q4_k_s`? choices: f32, f16"),
        ("resources.use_spt=true", "there is no such setting", "did you mean `use_spot`?"),
        ("resources.any_of=[{clod: aws}]", "there is no such setting", "did you mean `cloud`?"),
        ("training.packing=yes", "true or false expected, not the text `yes`", "write true: in YAML 1.2"),
        ("training.packing=0", "true or false expected, not the number 0", "write false"),
        ("training.max_steps=1_000", "a whole number expected, not the text `1_000`", "write 1000"),
        ("training.max_steps=2.5", "a whole number expected, not the number 2.5", "the default is -1"),
        ("training.max_steps=true", "a whole number expected, not true", "the default is -1"),
        ("training.learning_rate=fast", "a number expected, not the text `fast`", "the default is 2e-05"),
        ("training.learning_rate=-1", "-1 is out of bounds", "at least 0"),
        ("training.num_train_epochs=0", "0 is out of bounds", "above 0"),
        ("training.seed=-1", "-1 is out of bounds", "at least 0 and at most"),
        ("training.optim=adamw", "`adamw` is not one of the choices", "did you mean `adamw_"),
        ("training.eval_strategy=false", "false is not one of no, steps, epoch", "write `no`"),
        (
            "training.report_to=[wandb, tensorbord]",
            "`tensorbord` is not one of the choices",
            "did you mean `tensorboard`?",
        ),
        ("training.run_name=5", "text or null expected, not the number 5", 'put quotes around it: "5"'),
        ("training.label_names=x", "a list or null expected, not the text `x`", "write a list: [x]"),
        ("adapter={lora_dropout: 1}", "1 is out of bounds", "at least 0 and below 1"),
        ("adapter={eva_config: {rho: x}}", "a number expected", "the default is 2.0"),
        ("model=gpt2", "a mapping expected, not the text `gpt2`", "`key: value` lines"),
        ("model={}", "`model_name_or_path` is missing", "builtin:tiny-llama"),
        ("data={train: []}", "an empty list is not enough", "at least one entry"),
        ("data.train=x.jsonl", "a list expected, not the text `x.jsonl`", "`[{path: …}]`"),
        ("data.train=[x.jsonl]", "a mapping expected, not the text `x.jsonl`", "write `path: x.jsonl`"),
        ("data.eval={}", "`from_train` is missing", "write `from_train: 0.1`"),
        ("checkpoint=", "a mapping expected, not nothing (null)", "leave the line out"),
        ("method=kto", "`kto` is not supported yet", "methods so far: sft"),
        ("method=sfft", "`sfft` is not one of sft, cpt, dpo, grpo", "did you mean `sft`?"),
        ("name=My Run", "`My Run` cannot name a run", "lower-case letters"),
        ("name=", "text expected", "leave the line out"),
    ],
)
def test_a_mistake_says_what_to_write_instead(refuse: Refuse, override: str, what: str, remedy: str) -> None:
    """Path, value and remedy in one message."""
    error = refuse(override)
    assert what in error.what
    assert remedy in (error.remedy or "")


def test_all_mistakes_come_at_once(refuse: Refuse) -> None:
    """One message lists them with their lines, the first twenty in full, and what lists the others."""
    text = "name: x\nmethod: sft\nmodel: {model_name_or_path: x}\ndata: {train: [{path: x}]}\ntraining:\n"
    error = refuse(text=text + "".join(f"  nonsense_{n}: {n}\n" for n in range(24)))
    assert error.what.startswith("24 mistakes\n")
    assert "recipe.yaml:6: training.nonsense_0: there is no such setting" in error.what
    assert "and 4 more: `runner check " in error.what
    assert error.what.endswith("recipe.yaml --json` lists them all")


def test_what_is_missing_is_named_together(refuse: Refuse) -> None:
    """A recipe with nothing but a name is told everything that it needs."""
    error = refuse(text="name: x\n")
    assert all(f"`{key}` is missing" in error.what for key in ("method", "model", "data"))


@pytest.mark.parametrize(("section", "key"), [(section, key) for section in FORMER for key in FORMER[section]])
def test_former_names_are_no_names_of_today(section: str, key: str) -> None:
    """A remedy for a name that the libraries have would never be shown, and its advice names what exists."""
    schema = recipe_schema()
    for step in section.split(".") if section else []:
        schema = schema["properties"][step]
    schema = schema.get("items", schema)
    assert key not in schema["properties"]
    advice = FORMER[section][key]
    places = [*SECTIONS.values(), schema, SECTIONS["data"]["properties"]["train"]["items"]]
    known = {name for place in places for name in place.get("properties", {})}
    named = advice.removeprefix("write `").partition("`")[0].partition(":")[0] if advice.startswith("write `") else None
    assert named is None or named in known | set(SECTIONS)


def test_an_unknown_name_anywhere_is_one_error(refuse: Refuse) -> None:
    """No section takes a key that it does not know."""
    for section in (
        "model",
        "adapter",
        "data",
        "data.train.0",
        "training",
        "checkpoint",
        "evaluate",
        "export",
        "resources",
    ):
        error = refuse(f"{section}.zzz=1")
        assert isinstance(error, UserError)
        assert error.remedy, section


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 1e300])
@pytest.mark.parametrize("path", ["training.max_steps", "adapter.r"])
def test_a_whole_number_fits_into_64_bits(refuse: Refuse, path: str, number: float) -> None:
    error = refuse(f"{path}={number!r}")
    assert "does not fit into 64 bits" in str(error)
    assert path in str(error)


def test_a_number_with_a_fraction_may_be_large(check: Check) -> None:
    assert check("training.learning_rate=1e30").recipe.training["learning_rate"] == 1e30
