"""Paths on this machine, all in XDG folders: the default store, a run's local state, caches."""

import contextlib
import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from blake3 import blake3

from runner.errors import UserError

NO_WORKING_DIRECTORY = "the working directory is gone"


def _xdg(variable: str, default: str) -> Path:
    """Return an XDG base folder; a relative value is ignored, as the specification demands."""
    value = os.environ.get(variable, "")
    return Path(value) if value.startswith("/") else home_folder(variable) / default


def home_folder(instead: str | None = None) -> Path:
    """Return the user's home folder.

    Args:
        instead: a variable that names the folder that is looked for there, for the message.

    Raises:
        UserError: neither HOME nor the machine's list of users names it, or HOME is no absolute path.
    """
    try:
        home = Path.home() if os.environ.get("HOME") else Path(pwd.getpwuid(os.getuid()).pw_dir)
    except (RuntimeError, KeyError):
        home = Path()
    if not home.is_absolute():
        either = f", or {instead}" if instead else ""
        raise UserError(
            "your home folder is not known",
            where="HOME",
            remedy=f"Set HOME{either} to the absolute path of a folder that you may write to.",
        )
    return home


def working_directory() -> Path:
    """Return the working directory.

    Raises:
        UserError: it was removed.
    """
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise UserError(NO_WORKING_DIRECTORY, remedy="Change to another with `cd`.") from error


def default_store() -> str:
    """Return the folder that is the store if nobody names another one."""
    return str(_xdg("XDG_DATA_HOME", ".local/share") / "runner")


def config_folder() -> Path:
    """Return the folder of what a person has settled (`runner.remembered`)."""
    return _xdg("XDG_CONFIG_HOME", ".config") / "runner"


def make_folder(folder: Path) -> None:
    """Create a folder and those above it. Of runner's own folders, only this user can look into a new one (0700).

    They hold logs, what was trained on, and models. One that exists stays as it is, since it may have been opened to
    others on purpose.
    """
    bases = (("XDG_DATA_HOME", ".local/share"), ("XDG_STATE_HOME", ".local/state"), ("XDG_CACHE_HOME", ".cache"))
    for variable, default in bases:
        own = _xdg(variable, default) / "runner"
        if folder.is_relative_to(own):
            make_private(own)
    folder.mkdir(parents=True, exist_ok=True)


def make_private(folder: Path) -> None:
    """Create a folder that only this user can look into (0700), and those above it as usual; keep one that exists."""
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)


def store_digest(store_url: str) -> str:
    """Return a short name of a store for use in local paths."""
    return blake3(store_url.encode()).hexdigest()[:16]


def state_folder(store_url: str, run_id: str) -> Path:
    """Return the folder for a run's local state: lock, work folder, supervisor's output."""
    return _xdg("XDG_STATE_HOME", ".local/state") / "runner" / store_digest(store_url) / run_id


def sweep_folder(store_url: str, sweep_id: str) -> Path:
    """Return the folder for a sweep's state on this machine: its workers' folders, and what they print."""
    return (
        _xdg("XDG_STATE_HOME", ".local/state") / "runner" / store_digest(store_url) / "_sweeps" / sweep_id
    )  # no run's id begins with `_`


def work_folder(store_url: str, run_id: str) -> Path:
    """Return the scratch folder for a run's attempts on this machine."""
    return state_folder(store_url, run_id) / "work"


def cache_folder() -> Path:
    """Return runner's cache folder. Its contents can be deleted at any time."""
    return _xdg("XDG_CACHE_HOME", ".cache") / "runner"


def listing_cache(store_url: str) -> Path:
    """Return the file that caches a store's ended runs."""
    return cache_folder() / store_digest(store_url) / "ended-runs-2.jsonl"


def hub_cache() -> Path:
    """Return the file that caches what exists on the Hugging Face hub."""
    return cache_folder() / "hub.json"


def engine_cache(store_url: str, run_id: str) -> Path:
    """Return the file that caches SkyPilot's last status of a run."""
    return cache_folder() / store_digest(store_url) / "skypilot" / f"{run_id}.json"


def price_cache() -> Path:
    """Return the folder that caches prices parsed from SkyPilot's large catalogs."""
    return cache_folder() / "prices"


def huggingface_home(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the Hugging Face libraries' own folder, as `huggingface_hub.constants.HF_HOME` computes it."""
    cache = environment.get("XDG_CACHE_HOME") or str(home_folder("XDG_CACHE_HOME") / ".cache")
    return Path(environment.get("HF_HOME") or Path(cache, "huggingface")).expanduser()


def hub_files(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the hub's cached files, as `huggingface_hub.constants.HF_HUB_CACHE` computes it."""
    return Path(environment.get("HF_HUB_CACHE") or huggingface_home(environment) / "hub").expanduser()
