"""A model's folder on this machine: whether its files are there, whole, and what they claim to be. Without torch.

The layout of a safetensors file is the format's own: 8 bytes with the length of the header, the header in JSON with the
place of each tensor, and the tensors (https://huggingface.co/docs/safetensors).
"""

import importlib.util
import json
import pathlib
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from runner.errors import UserError
from runner.recipe.inputs.content import read_json, require_content

_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_JSON = (
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
)
_OTHERS = ("tokenizer.json", "tokenizer.model", "merges.txt", "chat_template.jinja")
_MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit
_MAX_SHARDS = 1000

_needs_weights = ContextVar("_needs_weights", default=True)


@contextmanager
def config_is_enough() -> Iterator[None]:
    """Within this a model's folder may be without weights: a plan reads the config alone."""
    before = _needs_weights.set(False)
    try:
        yield
    finally:
        _needs_weights.reset(before)


def check_model_folder(folder: pathlib.Path) -> dict[str, Any]:
    """Check the files of a model's folder as far as their first bytes and their sizes tell; return its config.json.

    Raises:
        UserError: a file is missing, cut off, or not what its name says.
    """
    if not (folder / "config.json").is_file():
        raise _without_config(folder)
    config = read_json(folder / "config.json")
    for name in _JSON:
        if (folder / name).is_file():
            read_json(folder / name)
    for name in _OTHERS:
        if (folder / name).is_file():
            require_content(folder / name)
            if (folder / name).stat().st_size == 0:
                raise UserError(f"`{name}` in the model's folder is empty", remedy="download it again")
    if _needs_weights.get():
        _check_weights(folder)
    return config


def is_encoder(config: dict[str, Any]) -> bool:
    """Whether a config says that the model fills in masked words instead of writing text.

    transformers loads such a model as a causal one, whose tokens then see those that come after them.
    """
    classes = config.get("architectures")
    masked = isinstance(classes, list) and bool(classes) and all(str(name).endswith("ForMaskedLM") for name in classes)
    return masked and config.get("is_decoder") is not True


def needs_remote_code(config: dict[str, Any]) -> bool:
    """Whether a model comes with Python code of its own that transformers has nothing instead of."""
    own = config.get("auto_map")
    return isinstance(own, dict) and "AutoConfig" in own and is_known_type(config) is False


def is_known_type(config: dict[str, Any]) -> bool | None:
    """Whether transformers has code for a model's type, as far as its installed files tell; it is not imported.

    Returns:
        None if it is not installed here, or the type is not a text.
    """
    kind = config.get("model_type")
    spec = importlib.util.find_spec("transformers")
    if not isinstance(kind, str) or spec is None or not spec.submodule_search_locations:
        return None
    auto = pathlib.Path(next(iter(spec.submodule_search_locations))) / "models" / "auto"
    try:
        text = "".join(path.read_text() for path in sorted(auto.glob("*auto*.py")))
    except (OSError, UnicodeDecodeError):
        return None
    return re.search(rf"[\"']{re.escape(kind)}[\"']", text) is not None if text else None


def _without_config(folder: pathlib.Path) -> UserError:
    if (folder / "adapter_config.json").is_file():
        return UserError(
            f"the folder `{folder.name}` holds an adapter, not a model",
            remedy="write the model that it was trained on; an adapter is merged into it first",
        )
    if any(folder.glob("*.gguf")):
        return UserError(
            f"the folder `{folder.name}` holds a GGUF file, which cannot be trained",
            remedy="write the model that it was made from",
        )
    below = sorted(path.parent.relative_to(folder) for path in folder.glob("*/config.json"))
    if not below:  # a cache of the hub has snapshots/REVISION/
        below = sorted(path.parent.relative_to(folder) for path in folder.glob("snapshots/*/config.json"))
    remedy = f"write `{folder.name}/{below[0]}`, which holds one" if below else "write a model's folder"
    return UserError(f"the folder `{folder.name}` holds no config.json", remedy=remedy)


def _check_weights(folder: pathlib.Path) -> None:
    index = next((folder / name for name in _INDEXES if (folder / name).is_file()), None)
    whole = [folder / name for name in _WEIGHTS if (folder / name).is_file()]
    if whole:
        _check_weight_file(whole[0])
        return
    if index is None:
        found = sorted(path.name for path in folder.iterdir() if path.suffix in (".safetensors", ".bin", ".gguf"))
        what = f"the model's folder `{folder.name}` holds no weights"
        what += f" that transformers reads, only {', '.join(found[:3])}" if found else ""
        remedy = "the index of the parts is missing (model.safetensors.index.json)" if len(found) > 1 else None
        raise UserError(what, remedy=remedy or "it needs model.safetensors, or parts with their index")
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise UserError(f"`{index.name}` has no `weight_map`", remedy="download it again")
    parts = sorted(set(weight_map.values()))[:_MAX_SHARDS]
    missing = [name for name in parts if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(parts)} files with weights are missing in `{folder.name}`: "
            + ", ".join(missing[:3])
            + (", …" if len(missing) > 3 else ""),
            remedy=f"`{index.name}` names them: download the model again, as a whole",
        )
    for name in parts:
        _check_weight_file(folder / name)


def _check_weight_file(path: pathlib.Path) -> None:
    require_content(path)
    size = path.stat().st_size
    if size == 0:
        raise UserError(f"`{path.name}` is empty", remedy="download it again")
    if path.suffix != ".safetensors":
        return
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\xff"))
            if length > min(_MAX_HEADER_BYTES, size - 8):
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(length))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        expected = 8 + length + max(ends, default=0)
    except OSError as error:
        raise UserError(f"`{path.name}` cannot be read: {error.strerror or error}") from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, struct.error) as error:
        reason = str(error) if str(error).startswith("its header") else "its header is not one"
        raise UserError(
            f"`{path.name}` is not a whole safetensors file: {reason}", remedy="download it again"
        ) from error
    if size != expected:
        what = f"`{path.name}` is cut off: it has {size:,} bytes of {expected:,}"
        if size > expected:
            what = f"`{path.name}` has {size:,} bytes, and its header says {expected:,}"
        raise UserError(what, remedy="download it again")
