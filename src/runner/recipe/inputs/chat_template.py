"""The chat template of a model on this machine, and whether it tells which tokens are the assistant's."""

import hashlib
import json
import pathlib
import re
from typing import Any

from runner.files import read_whole
from runner.recipe.inputs.references import is_local

_MARKER = re.compile(r"\{%-?\s*generation\s*-?%\}")
_DIGEST_DIGITS = 12
_MAX_BYTES = 64 << 20

_DIGESTS = """
    0d7e56ca4170 2147c474f41b 273d8e0e683b 2c17243a977f 3636d0f0bd6b 44f815868bf0 5504d163d879 563b1ce7d61d
    56a1447ad319 575fb74f54ed 58933db77d30 64f85b198065 78d976a442bc 7de1c58e208e 82753bef5ced 830005085ddd
    90c33aee14aa 9aeb7eac68ad a0bc6f6fc7a2 a4aee8afcf2e a4c9919cbbd4 a55ee1b16601 ab7813c3abdd ba03a121d097
    c3cf9e34abf4 cd8e9439f057 cef187400d62 cfc67e5f349f dcaee66df77b e84f32a23fdd ecd6ae513fe1
"""
TRAINABLE = frozenset(_DIGESTS.split())
"""Digests of the chat templates that TRL replaces by one with markers (`trl.get_training_chat_template`); a test
compares them with the installed version's."""


def template_digest(template: str) -> str:
    """Return what stands for a template in `TRAINABLE`."""
    return hashlib.sha256(template.encode()).hexdigest()[:_DIGEST_DIGITS]


def marks_assistant(template: str) -> bool:
    """Whether TRL finds the assistant's tokens with a template: by its markers, or by its own version of it."""
    return _MARKER.search(template) is not None or template_digest(template) in TRAINABLE


def local_template(model: str, chat_template_path: Any) -> str | None:
    """Return the chat template that a model will be trained with; None if this machine does not have it.

    Args:
        model: the model's resolved name.
        chat_template_path: that setting, resolved: a file, a folder, or a name on the hub.
    """
    if isinstance(chat_template_path, str):
        if not is_local(chat_template_path):
            return None
        path = pathlib.Path(chat_template_path)
        try:
            return _of_folder(path) if path.is_dir() else _read(path)
        except (OSError, ValueError):
            return None  # a name that no file can have
    return _of_folder(pathlib.Path(model)) if is_local(model) else None


def has_template(model: str, chat_template_path: Any) -> bool | None:
    """Return whether a model will be trained with a chat template; None if this machine does not have the model.

    Args:
        model: the model's resolved name.
        chat_template_path: that setting.
    """
    if chat_template_path or model.startswith("builtin:"):
        return True
    return local_template(model, None) is not None if is_local(model) else None


def _of_folder(folder: pathlib.Path) -> str | None:
    """Return a folder's template, as transformers looks for it: a file of its own wins."""
    if (folder / "chat_template.jinja").is_file():
        return _read(folder / "chat_template.jinja")
    try:
        written = json.loads(read_whole(folder / "tokenizer_config.json", _MAX_BYTES)).get("chat_template")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    if isinstance(written, list):
        named = {item.get("name"): item.get("template") for item in written if isinstance(item, dict)}
        written = named.get("default")
    return written if isinstance(written, str) else None


def _read(path: pathlib.Path) -> str | None:
    try:
        return read_whole(path, _MAX_BYTES).decode()
    except (OSError, UnicodeDecodeError):
        return None
