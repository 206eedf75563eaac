"""The table of the libraries' errors: each row is provoked for real where this machine can, and names a setting."""

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.errors import UserError
from runner.exit_codes import MISTAKE
from runner.train.builtin.catalog import materialize
from runner.train.failures import Failure, Shown, classify
from runner.train.library_errors.explain import ROWS, explain


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's folder."""
    return Path(materialize("builtin:tiny-llama", tmp_path_factory.mktemp("cache")))


@pytest.fixture
def broken(model: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of it, with files written anew."""

    def make(**files: bytes | str) -> Path:
        folder = tmp_path / "model"
        folder.mkdir()
        for file in model.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        for name, content in files.items():
            path = folder / name.replace("__", ".")
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return folder

    return make


def _caught(provoke: Callable[[], Any]) -> UserError:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (the library's own class is what is looked up)
        provoke()
    mistake = explain(caught.value)
    assert mistake is not None, repr(caught.value)
    return mistake


def _config(model: Path, **changes: Any) -> str:
    return json.dumps({**json.loads((model / "config.json").read_text()), **changes})


def test_models_that_cannot_be_loaded(model: Path, broken: Callable[..., Path]) -> None:
    from transformers import AutoModelForCausalLM

    own = {"AutoConfig": "configuration_my.My", "AutoModelForCausalLM": "modeling_my.My"}
    folder = broken(config__json=_config(model, model_type="mymodel", auto_map=own))
    load = AutoModelForCausalLM.from_pretrained
    mistake = _caught(lambda: load(folder, trust_remote_code=False))
    assert (mistake.where, "trust_remote_code: true" in str(mistake)) == ("model.model_name_or_path", True)
    (folder / "config.json").write_text(_config(model, model_type="brandnew9"))
    assert "no model of the type brandnew9" in _caught(lambda: load(folder)).what
    t5 = {"model_type": "t5", "vocab_size": 10, "d_model": 8, "num_layers": 1, "num_heads": 1, "d_kv": 8, "d_ff": 8}
    (folder / "config.json").write_text(json.dumps(t5))
    assert "the type T5 is not a causal language model" in _caught(lambda: load(folder)).what
    (folder / "config.json").write_text("{}")
    assert "has no config.json that says what it is" in _caught(lambda: load(folder)).what
    (folder / "config.json").write_text(_config(model))
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 40) + b"{}")
    assert "damaged or cut off" in _caught(lambda: load(folder)).what
    weights = (model / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    assert "damaged or cut off" in _caught(lambda: load(folder)).what
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "config.json").write_text(_config(model, hidden_size=8, num_attention_heads=1, head_dim=8))
    assert "do not have the sizes" in _caught(lambda: load(folder)).what
    (folder / "config.json").write_text(_config(model))
    mistake = _caught(lambda: load(folder, attn_implementation="flash_attention_2"))
    assert mistake.where == "model.attn_implementation"
    mistake = _caught(lambda: load(folder, attn_implementation="fast"))
    assert mistake.where == "model.attn_implementation"


def test_settings_of_trl_and_transformers(model: Path, tmp_path: Path) -> None:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    def arguments(**settings: Any) -> Any:
        return SFTConfig(output_dir=str(tmp_path), use_cpu=True, report_to="none", max_steps=1, **settings)

    assert _caught(lambda: arguments(tf32=True)).where == "training.tf32"
    assert _caught(lambda: arguments(debug="nonsense")).where == "training"
    assert _caught(lambda: arguments(accelerator_config={"split_batch": True})).where == "training"

    def trainer(**settings: Any) -> Any:
        rows = [{"prompt": "a b c", "completion": " d e f"}] * 4
        return SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(model),
            args=arguments(**settings),
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(model),
        )

    assert _caught(lambda: trainer(router_aux_loss_coef=0.1)).where == "training.router_aux_loss_coef"
    eos = _caught(lambda: trainer(eos_token="<nope>"))
    assert (eos.where, "no token <nope>" in eos.what) == ("training.eos_token", True)
    selective = _caught(
        lambda: trainer(gradient_checkpointing=False, gradient_checkpointing_kwargs={"selective": True})
    )
    assert selective.where == "training.gradient_checkpointing_kwargs"
    for optimizer in ("galore_adamw", "stable_adamw", "grokadamw", "adamw_torch_8bit", "schedule_free_adamw"):
        mistake = _caught(lambda optim=optimizer: trainer(optim=optim).create_optimizer())
        assert mistake.where in ("training", "training.optim"), optimizer
    scheduled = trainer(lr_scheduler_type="warmup_stable_decay", lr_scheduler_kwargs=None)
    mistake = _caught(lambda: scheduled.create_optimizer_and_scheduler(10))
    assert (mistake.where, "num_decay_steps" in str(mistake)) == ("training.lr_scheduler_kwargs", True)
    scheduled = trainer(lr_scheduler_type="cosine_with_min_lr", lr_scheduler_kwargs=None)
    assert _caught(lambda: scheduled.create_optimizer_and_scheduler(10)).where == "training.lr_scheduler_kwargs"
    measured = trainer(metric_for_best_model="eval_accuracy")
    mistake = _caught(lambda: measured._determine_best_metric({"eval_loss": 1.0}, None))
    assert (mistake.where, "eval_loss" in str(mistake)) == ("training.metric_for_best_model", True)


def test_a_template_without_marks(model: Path) -> None:
    from transformers import AutoTokenizer
    from trl.chat_template_utils import get_training_chat_template

    tokenizer = AutoTokenizer.from_pretrained(model)
    messages = [{"role": "user", "content": "a"}]
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    assert _caught(lambda: get_training_chat_template(tokenizer)).where == "training.assistant_only_loss"
    for template, what in (
        ("{{ raise_exception('System role not supported') }}", "refuses a row: System role not supported"),
        ("{% for m in messages %}", "not valid Jinja"),
        ("{{ messages[0].nothing.more }}", "asks for something that the rows do not have"),
    ):
        mistake = _caught(lambda t=template: tokenizer.apply_chat_template(messages, chat_template=t, tokenize=False))
        assert what in mistake.what


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"target_modules": ["nope"]}, "adapter.target_modules"),
        ({"r": 3, "init_lora_weights": "orthogonal", "target_modules": "all-linear"}, "adapter.r"),
        ({"target_modules": ["q_proj"], "megatron_config": {"a": 1}}, "adapter.megatron_config"),
        ({"target_modules": ["q_proj"], "layer_replication": [[0, 99]]}, "adapter"),
        ({"target_modules": ["q_proj"], "use_bdlora": {}}, "adapter"),
        ({"target_modules": ["q_proj"], "init_lora_weights": "loftq"}, "adapter"),
    ],
)
def test_adapters_that_do_not_fit(model: Path, settings: dict[str, Any], where: str) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(model)
    mistake = _caught(lambda: get_peft_model(loaded, LoraConfig(task_type="CAUSAL_LM", **settings)))
    assert mistake.where == where


def test_generation_that_transformers_does_not_know(model: Path) -> None:
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(model)
    ids = torch.tensor([[1, 2, 3]])
    mistake = _caught(lambda: loaded.generate(ids, max_new_tokens=1, nonsense=1))  # type: ignore[operator]
    assert mistake.where == "training.generation_kwargs"


def test_generation_arguments_that_nobody_would_read_are_refused(tmp_path: Path) -> None:
    from runner.train.methods.grpo import _check_generation

    _check_generation({"num_beams": 2, "do_sample": True})
    with pytest.raises(UserError, match="Did you mean `num_beams`"):
        _check_generation({"num_beam": 2})


def test_data_that_cannot_be_read(tmp_path: Path) -> None:
    from datasets import load_dataset

    (tmp_path / "a.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "b.jsonl").write_text('{"b": {"c": 2}}\n')
    (tmp_path / "script").mkdir()
    (tmp_path / "script/script.py").write_text("x = 1\n")
    cache = {"cache_dir": str(tmp_path / "cache")}
    mistake = _caught(lambda: load_dataset("json", data_files=[str(tmp_path / f"{n}.jsonl") for n in "ab"], **cache))
    assert mistake.where == "data.train"
    mistake = _caught(lambda: load_dataset("json", data_files=str(tmp_path / "a.jsonl"), split="validation", **cache))
    assert "no split validation" in mistake.what
    assert "no longer runs" in _caught(lambda: load_dataset(str(tmp_path / "script"), **cache)).what
    assert _caught(lambda: load_dataset(str(tmp_path / "nowhere"), **cache)).where == "data.train"


def test_backends_that_are_not_there() -> None:
    from torch import distributed

    mistake = _caught(lambda: distributed.init_process_group("mpi"))
    assert mistake.where == "training.ddp_backend"
    mistake = _caught(lambda: torch.compile(torch.nn.Linear(1, 1), backend="foo"))
    assert mistake.where == "training.torch_compile_backend"


def test_what_the_table_knows_ends_in_a_sentence_and_exit_code_2() -> None:
    error = ValueError("--tf32 requires Ampere or a newer GPU arch, cuda>=11 and torch>=1.7")
    try:
        raise error
    except ValueError:
        error.__traceback__ = None  # this file's own frame would be the user's
    end = classify(Failure(error=error))
    assert (end.exit_code, end.shown, end.outcome.kind) == (MISTAKE, Shown.REASON, "failed")
    assert str(end.outcome.reason).startswith("training.tf32: the machine that trains has no TF32")


def test_what_it_does_not_know_keeps_its_traceback_in_the_log() -> None:
    error = ZeroDivisionError("division by zero")
    assert explain(error) is None
    assert classify(Failure(error=error)).shown is Shown.TRACEBACK


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.words[:40])
def test_every_row_is_a_pattern_and_a_setting(row: Any) -> None:
    groups = re.compile(row.words).groups
    for text in (row.what, row.remedy, row.where):
        assert all(int(number) < groups for number in re.findall(r"(?<!\{)\{(\d)\}", text))
    assert row.where.split(".")[0] in ("model", "adapter", "training", "data", "")
