"""What a file really is, by its first bytes: a Git LFS pointer or a web page is often saved under another's name."""

import json
import pathlib
import re
from typing import Any

from runner.errors import UserError
from runner.files import read_head, read_whole

_HEAD_BYTES = 1024
_MAX_JSON_BYTES = 1 << 26
_PAGE = re.compile(rb"\s*(<!doctype\s+html|<html[\s>]|<head[\s>])", re.IGNORECASE)
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ": "xz",
}


def require_content(path: pathlib.Path, *, name: str | None = None, pages: bool = False) -> None:
    """Refuse a file that stands for another one.

    Args:
        path: the file.
        name: its name in the message; None for its own.
        pages: whether it may be a web page, as a text to train on may be.

    Raises:
        UserError: it is a pointer of Git LFS, a web page, or cannot be read.
    """
    shown = name or path.name
    try:
        head = read_head(path, _HEAD_BYTES)
    except OSError as error:
        raise UserError(f"`{shown}` cannot be read: {error.strerror or error}") from error
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        raise UserError(
            f"`{shown}` is a pointer of Git LFS, not the file itself",
            remedy=f"run `git lfs install` and `git lfs pull` in {path.parent}",
        )
    if not pages and _PAGE.match(head):
        raise UserError(
            f"`{shown}` is a web page (HTML), not the file itself",
            remedy="download it again, from its `resolve` address on the hub, or with `hf download`",
        )


def require_uncompressed(path: pathlib.Path) -> None:
    """Refuse a text file that is compressed.

    Raises:
        UserError: it is.
    """
    try:
        head = read_head(path, 8)
    except OSError as error:
        raise UserError(f"`{path.name}` cannot be read: {error.strerror or error}") from error
    kind = next((kind for magic, kind in _COMPRESSED.items() if head.startswith(magic)), None)
    if kind:
        raise UserError(f"`{path.name}` is compressed ({kind})", remedy="write the file that is in it")


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """Return the object in a JSON file of a model's folder.

    Raises:
        UserError: it is empty, a pointer of Git LFS, a web page, or not a JSON object.
    """
    require_content(path)
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            return {}
        text = read_whole(path, _MAX_JSON_BYTES)
        content = json.loads(text) if text.strip() else None
    except OSError as error:
        raise UserError(f"`{path.name}` cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"`{path.name}` is not valid JSON: {error}", remedy="download it again") from error
    if not isinstance(content, dict):
        what = "is empty" if not text.strip() else "is not a JSON object"
        raise UserError(f"`{path.name}` {what}", remedy="download it again")
    return content
