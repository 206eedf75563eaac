"""Model folders and files: what is missing, cut off or something else is named before anything is loaded."""

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.recipe.inputs.chat_template import TRAINABLE, marks_assistant, template_digest
from support.recipes import Check, Refuse, settings_of

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 559032\n".encode()
PAGE = b"<!DOCTYPE html>\n<html><body>Sign in</body></html>\n"
MODEL = "model.model_name_or_path=./model"
TURNS = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'


def _safetensors(data: int = 16, *, size: int | None = None) -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [data // 4], "data_offsets": [0, data]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(data if size is None else size)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with everything that a check looks for."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (folder / "model.safetensors").write_bytes(_safetensors())
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text("{}")
    return folder


def test_a_whole_folder_is_taken(check: Check, model: Path) -> None:
    assert check(MODEL).recipe.model["model_name_or_path"] == str(model)


def _shards(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model-00001-of-00002.safetensors").write_bytes(_safetensors())


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "pointer": (
        lambda m: (m / "model.safetensors").write_bytes(POINTER),
        "`model.safetensors` is a pointer of Git LFS",
    ),
    "config": (lambda m: (m / "config.json").write_bytes(POINTER), "`config.json` is a pointer of Git LFS"),
    "tokenizer": (lambda m: (m / "tokenizer.json").write_bytes(POINTER), "`tokenizer.json` is a pointer of Git LFS"),
    "page": (lambda m: (m / "model.safetensors").write_bytes(PAGE), "`model.safetensors` is a web page"),
    "page-config": (lambda m: (m / "config.json").write_bytes(PAGE), "`config.json` is a web page"),
    "empty": (lambda m: (m / "model.safetensors").write_bytes(b""), "`model.safetensors` is empty"),
    "empty-config": (lambda m: (m / "config.json").write_bytes(b""), "`config.json` is empty"),
    "empty-tokenizer": (lambda m: (m / "tokenizer.json").write_bytes(b""), "`tokenizer.json` in the model's folder is"),
    "half-config": (lambda m: (m / "config.json").write_text('{"a": '), "`config.json` is not valid JSON"),
    "cut": (lambda m: (m / "model.safetensors").write_bytes(_safetensors(size=8)), "is cut off: it has"),
    "header": (lambda m: (m / "model.safetensors").write_bytes(_safetensors()[:20]), "is not a whole safetensors file"),
    "few-bytes": (lambda m: (m / "model.safetensors").write_bytes(b"abc"), "is not a whole safetensors file"),
    "none": (lambda m: (m / "model.safetensors").unlink(), "holds no weights"),
    "shard": (_shards, "1 of 2 files with weights are missing in `model`: model-00002-of-00002.safetensors"),
    "adapter": (lambda m: (m / "config.json").rename(m / "adapter_config.json"), "holds an adapter, not a model"),
    "type": (
        lambda m: (m / "config.json").write_text('{"model_type": "brandnew9"}'),
        "no model of the type `brandnew9`",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_refused_with_what_is_wrong(refuse: Refuse, model: Path, damage: str) -> None:
    harm, what = DAMAGES[damage]
    harm(model)
    error = refuse(MODEL)
    assert settings_of(error) == ["model.model_name_or_path"]
    assert what in str(error)


def test_lfs_says_what_to_run(refuse: Refuse, model: Path) -> None:
    (model / "model.safetensors").write_bytes(POINTER)
    assert f"`git lfs pull` in {model}" in str(refuse(MODEL))


def test_code_of_its_own_has_to_be_trusted(check: Check, refuse: Refuse, model: Path) -> None:
    own = {"model_type": "mymodel", "auto_map": {"AutoConfig": "configuration_my.MyConfig"}}
    (model / "config.json").write_text(json.dumps(own))
    assert "training: {trust_remote_code: true}" in str(refuse(MODEL))
    assert check(MODEL, "training.trust_remote_code=true")
    (model / "config.json").write_text(json.dumps({**own, "model_type": "llama"}))
    assert check(MODEL)  # transformers has code for it


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("d.jsonl", POINTER, "`d.jsonl` is a pointer of Git LFS"),
        ("d.parquet", POINTER, "`d.parquet` is a pointer of Git LFS"),
        ("d.txt", POINTER, "`d.txt` is a pointer of Git LFS"),
        ("d.csv", PAGE, "`d.csv` is a web page"),
        ("d.jsonl", PAGE, "`d.jsonl` is a web page"),
        ("d.jsonl", gzip.compress(b"{}", mtime=0), "`d.jsonl` is compressed (gzip)"),
    ],
)
def test_data_that_are_something_else_are_refused(
    refuse: Refuse, tmp_path: Path, name: str, content: bytes, what: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert what in str(refuse(f"data.train.0.path=./{name}"))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (folder / name).write_bytes(content)
    assert what in str(refuse("data.train.0.path=./folder"))


def test_a_reward_file_may_be_a_pointer_too(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "rewards.py").write_bytes(POINTER)
    error = refuse('training={reward_funcs: ["rewards.py:f"]}', "method=grpo", "data.train.0.path=builtin:arithmetic")
    assert "`rewards.py` is a pointer of Git LFS" in str(error)


def test_the_templates_that_trl_replaces_are_those_of_the_installed_version() -> None:
    import re

    from trl import chat_template_utils

    source = Path(chat_template_utils.__file__).read_text()
    names = re.findall(r"if chat_template == (\w+):", source)
    templates = [getattr(chat_template_utils, name) for name in names]
    assert {template_digest(template) for template in templates} == TRAINABLE
    assert all(map(marks_assistant, templates))
