"""Where things lie on this machine: the default store, a run's local state, caches. XDG folders, nothing else."""

import os
from collections.abc import Mapping
from pathlib import Path

from blake3 import blake3


def _xdg(variable: str, default: str) -> Path:
    """An XDG base folder; a relative value is ignored, as the specification asks."""
    value = os.environ.get(variable, "")
    return Path(value) if value.startswith("/") else Path.home() / default


def default_store() -> str:
    """The store that is used when neither ``--store`` nor ``RUNNER_STORE`` names one: a folder."""
    return str(_xdg("XDG_DATA_HOME", ".local/share") / "runner")


def store_digest(store_url: str) -> str:
    """Names a store in local folders."""
    return blake3(store_url.encode()).hexdigest()[:16]


def state_folder(store_url: str, run_id: str) -> Path:
    """What this machine keeps of a run while it runs here: its lock, its work folder, its supervisor's output."""
    return _xdg("XDG_STATE_HOME", ".local/state") / "runner" / store_digest(store_url) / run_id


def work_folder(store_url: str, run_id: str) -> Path:
    """The scratch folder that attempts of a run are given on this machine."""
    return state_folder(store_url, run_id) / "work"


def cache_folder() -> Path:
    """runner's own cache: all of it can be made again."""
    return _xdg("XDG_CACHE_HOME", ".cache") / "runner"


def listing_cache(store_url: str) -> Path:
    """The file that remembers the runs of a store that have ended."""
    return cache_folder() / store_digest(store_url) / "ended-runs.jsonl"


def hub_cache() -> Path:
    """The file that remembers what the Hugging Face hub was found to have."""
    return cache_folder() / "hub.json"


def engine_cache(store_url: str, run_id: str) -> Path:
    """The file that remembers what SkyPilot has last said of a run."""
    return cache_folder() / store_digest(store_url) / "skypilot" / f"{run_id}.json"


def config_cache() -> Path:
    """The folder of models' configs that were fetched from the hub, to plan with."""
    return cache_folder() / "configs"


def price_cache() -> Path:
    """The folder of prices that were read from SkyPilot's catalogs, which are large."""
    return cache_folder() / "prices"


def huggingface_home(environment: Mapping[str, str] = os.environ) -> Path:
    """The Hugging Face libraries' own folder, found as `huggingface_hub.constants.HF_HOME` is: not ours to move."""
    cache = environment.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(environment.get("HF_HOME") or Path(cache, "huggingface")).expanduser()
