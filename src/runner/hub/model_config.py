"""Find a model's `config.json` without downloading the model: bundled, in a folder, or from the hub."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.errors import UserError
from runner.files import read_whole
from runner.fit.model_shape import bundled_config
from runner.paths import hub_files
from runner.recipe.recipe import Recipe

TIMEOUT_SECONDS = 3.0
"""The hub's timeout; it is one small file."""
MAX_BYTES = 4 * 1024 * 1024
_HUB = "https://huggingface.co"
_CONFIG = "config.json"
_WHERE = "model.model_name_or_path"
_REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?")


def model_config(recipe: Recipe, *, fetch: bool = True) -> Mapping[str, Any]:
    """Return the config of a recipe's model.

    It is read from the model's folder, or is bundled, or is fetched from the hub (`HF_ENDPOINT`, with the token that
    `huggingface_hub` finds) into the hub's own cache, so that planning works offline the next time.

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
    return _parse(_read(_file_of_hub(name, revision, fetch=fetch)), name)


def _file_of_hub(name: str, revision: str, *, fetch: bool) -> Path:
    """Return the path of a config in the hub's own cache, where training finds it too; download it if need be."""
    from huggingface_hub import (  # not above: most plans need no hub
        get_hf_file_metadata,
        get_token,
        hf_hub_download,
        hf_hub_url,
        try_to_load_from_cache,
    )
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars("huggingface_hub.http_get")  # of one small file
    cache = hub_files()
    try:
        cached = try_to_load_from_cache(name, _CONFIG, cache_dir=cache, revision=revision)
    except HFValidationError as error:
        raise UserError(f"there is no folder {name}, and the hub has no such names", where=_WHERE) from error
    if isinstance(cached, str):
        return Path(cached)
    if not fetch:
        raise _unreachable(name, "the hub is not asked")
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise _unreachable(name, "HF_HUB_OFFLINE is set")
    endpoint = os.environ.get("HF_ENDPOINT") or _HUB
    if not endpoint.startswith(("https://", "http://")):
        raise UserError(f"{endpoint!r} is not a web address", where="HF_ENDPOINT", remedy="write https://…")
    token = get_token() or False
    endpoint = endpoint.rstrip("/")
    try:
        # Asked first, and once: a download asks a hub that is away again and again for twenty seconds.
        address = hf_hub_url(name, _CONFIG, revision=revision, endpoint=endpoint)
        get_hf_file_metadata(address, token=token, timeout=TIMEOUT_SECONDS, endpoint=endpoint)
        return Path(
            hf_hub_download(
                name,
                _CONFIG,
                revision=revision,
                cache_dir=cache,
                endpoint=endpoint,
                token=token,
                etag_timeout=TIMEOUT_SECONDS,
            )
        )
    except RepositoryNotFoundError as error:  # also a gated one
        remedy = f"ask for access at {_HUB}/{name} and set HF_TOKEN"
        raise UserError(f"{name} is gated or private, or is not on the hub", where=_WHERE, remedy=remedy) from error
    except (EntryNotFoundError, RevisionNotFoundError) as error:
        raise UserError(f"{name} has no config.json on the hub at {revision}", where=_WHERE) from error
    except HFValidationError as error:
        raise UserError(f"there is no folder {name}, and the hub has no such names", where=_WHERE) from error
    except HfHubHTTPError as error:
        raise _unreachable(name, f"HTTP {error.response.status_code}") from error
    except (HTTPError, OSError, ValueError) as error:
        raise _unreachable(name, str(error)) from error


def _unreachable(name: str, why: str) -> UserError:
    return UserError(
        f"the config of {name} cannot be fetched: {why}",
        where=_WHERE,
        remedy="go online once, or name a folder with the model; the configs of the shipped recipes are included",
    )


def _read(path: Path) -> str:
    try:
        return read_whole(path, MAX_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read: {getattr(error, 'strerror', None) or error}", where=str(path)) from error


def _parse(text: str, name: str) -> Mapping[str, Any]:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"the config of {name} is not JSON", where=_WHERE) from error
    if not isinstance(config, dict):
        raise UserError(f"the config of {name} is not a JSON object", where=_WHERE)
    return config
