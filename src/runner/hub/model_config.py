"""Find a model's `config.json` without downloading the model: bundled, in a folder, or from the hub."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.errors import UserError
from runner.fit.model_shape import bundled_config
from runner.paths import config_cache
from runner.recipe.recipe import Recipe

TIMEOUT_SECONDS = 3.0
"""The hub's timeout; it is one small file."""
MAX_BYTES = 4 * 1024 * 1024
_HUB = "https://huggingface.co"
_WHERE = "model.model_name_or_path"
_REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?")


def model_config(recipe: Recipe, *, fetch: bool = True) -> Mapping[str, Any]:
    """Return the config of a recipe's model.

    It is read from the model's folder, or is bundled, or is fetched from the hub (`HF_ENDPOINT`, with `HF_TOKEN` if
    set) and cached, so that planning works offline the next time.

    Args:
        recipe: names the model.
        fetch: whether the hub may be asked.

    Raises:
        UserError: there is no config, or it cannot be fetched.
    """
    name = str(recipe.model["model_name_or_path"])
    folder = Path(name)
    if folder.is_dir():
        return _parse(_read(folder / "config.json"), name)
    revision = str(recipe.model.get("model_revision") or "main")
    if revision == "main" and (bundled := bundled_config(name)) is not None:
        return bundled
    if name.startswith("builtin:"):
        raise UserError(f"there is no built-in model {name!r}", where=_WHERE)
    if folder.is_absolute() or not _REPOSITORY.fullmatch(name):
        raise UserError(f"there is no folder {name}", where=_WHERE)
    cached = config_cache() / f"{hashlib.sha256(f'{name}@{revision}'.encode()).hexdigest()[:24]}.json"
    if cached.is_file():
        return _parse(cached.read_text(), name)
    if not fetch:
        raise _unreachable(name, "the hub is not asked")
    text = _fetch(name, revision)
    config = _parse(text, name)
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        cached.write_text(text)
    except OSError:
        pass  # it is only a cache
    return config


def _fetch(name: str, revision: str) -> str:
    import urllib.error  # not above: most plans need no network
    import urllib.request

    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise _unreachable(name, "HF_HUB_OFFLINE is set")
    url = f"{os.environ.get('HF_ENDPOINT') or _HUB}/{name}/resolve/{revision}/config.json"
    request = urllib.request.Request(url, headers={"User-Agent": "runner"})
    if not url.startswith(("https://", "http://")):
        raise UserError(f"{url!r} is not a web address", where="HF_ENDPOINT", remedy="write https://…")
    if token := os.environ.get("HF_TOKEN"):
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            body: bytes = answer.read(MAX_BYTES)
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            remedy = f"ask for access at {_HUB}/{name} and set HF_TOKEN"
            raise UserError(f"{name} is gated or private, or is not on the hub", where=_WHERE, remedy=remedy) from error
        if error.code == 404:
            raise UserError(f"{name} has no config.json on the hub at {revision}", where=_WHERE) from error
        raise _unreachable(name, f"HTTP {error.code}") from error
    except (OSError, ValueError) as error:
        raise _unreachable(name, str(getattr(error, "reason", error))) from error
    return body.decode(errors="replace")


def _unreachable(name: str, why: str) -> UserError:
    return UserError(
        f"the config of {name} cannot be fetched: {why}",
        where=_WHERE,
        remedy="go online once, or name a folder with the model; the configs of the shipped recipes are included",
    )


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}", where=str(path)) from error


def _parse(text: str, name: str) -> Mapping[str, Any]:
    try:
        config = json.loads(text)
    except ValueError as error:
        raise UserError(f"the config of {name} is not JSON", where=_WHERE) from error
    if not isinstance(config, dict):
        raise UserError(f"the config of {name} is not a JSON object", where=_WHERE)
    return config
