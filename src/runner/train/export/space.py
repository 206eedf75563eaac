"""A Gradio Space of a run's model: its files, which need no network to write, and their upload."""

import json
import logging
import shutil
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, metadata_save
from huggingface_hub.errors import LocalTokenNotFoundError

from runner.errors import UserError
from runner.recipe.inputs.references import is_local
from runner.train.export.hub_push import HUB_ERRORS, explain, no_token

logger = logging.getLogger(__name__)

_GRADIO = "6.31.0"
"""The version that ``app.py`` is tested with; taken where gradio is not installed."""
_MODEL = "model"
"""The folder of the model's files in a Space that brings them."""
_NOT_FOR_INFERENCE = ("README.md", "training_args.bin")


def write_space(
    folder: Path, *, title: str, model: Path, hub: Mapping[str, Any] | None, plain: bool, run_id: str
) -> None:
    """Write ``README.md``, ``app.py``, ``space.json``, ``requirements.txt`` and, unless it is on the hub, the model.

    Args:
        folder: a new or empty folder.
        title: the page's title.
        model: the folder of the model or adapter that the Space answers with.
        hub: the record of its push, if it was pushed (`repo_id`, `commit`, `private`).
        plain: whether it was trained on text without turns.
        run_id: the run that trained it.

    Raises:
        UserError: it is an adapter whose base is on this machine only, or `folder` is not empty.
    """
    base = _adapter_base(model)
    if base is not None and (is_local(base) or Path(base).is_absolute() or base.startswith("builtin:")):
        raise UserError(
            "the model is an adapter, and its base is not on the hub: a Space could not load it",
            where="--space",
            remedy="add --merge, and the Space gets the merged model",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UserError("is not empty", where=str(folder), remedy="name a folder that does not exist yet")
        name = _MODEL if hub is None else str(hub["repo_id"])
        settings = {"model": name, "revision": hub and hub["commit"], "title": title, "plain": plain}
        _write(folder / "space.json", json.dumps(settings, indent=2, ensure_ascii=False) + "\n")
        shutil.copyfile(Path(__file__).with_name("space_app.py"), folder / "app.py")
        _write(folder / "requirements.txt", _requirements(adapter=base is not None))
        _write(folder / "README.md", _readme(title, hub=hub, base=base, run_id=run_id))
        metadata_save(folder / "README.md", _front_matter(title, hub=hub, base=base))
        if hub is None:
            ignored = shutil.ignore_patterns(*_NOT_FOR_INFERENCE)
            shutil.copytree(model, folder / _MODEL, ignore=ignored)
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror or error}", where=error.filename or str(folder)) from error


def push_space(folder: Path, repository: str, *, private: bool, run_id: str) -> str:
    """Upload a Space's files in one commit, and return its address. A new Space is private unless told otherwise.

    Raises:
        UserError: the hub refuses it, or the Space exists and is public.
        HubUnavailable: the hub does not answer.
    """
    try:
        api = HfApi()
        repository = api.create_repo(
            repository, repo_type="space", space_sdk="gradio", private=private, exist_ok=True
        ).repo_id
        if private and not api.space_info(repository).private:  # it was there before
            raise UserError(
                f"the Space {repository} is public, and would publish the model",
                where="--space",
                remedy="add --public if it may, or name another Space",
            )
        api.upload_folder(
            repo_id=repository, repo_type="space", folder_path=folder, commit_message=f"Made by runner of {run_id}"
        )
    except LocalTokenNotFoundError as error:
        raise no_token("--space") from error
    except (*HUB_ERRORS, RuntimeError) as error:  # hf_xet raises RuntimeErrors
        raise explain(error, repository, where="--space") from error
    url = f"{api.endpoint}/spaces/{repository}"
    logger.info(f"the Space is at {url}")
    return url


def _adapter_base(model: Path) -> str | None:
    """Return the name of an adapter's base, or None for a whole model."""
    config = model / "adapter_config.json"
    return str(json.loads(config.read_bytes())["base_model_name_or_path"]) if config.is_file() else None


def _requirements(*, adapter: bool) -> str:
    """Return the packages at the versions that made the model; the Space's own image brings gradio."""
    packages = ["torch", "transformers", "tokenizers", "safetensors", "accelerate", *(["peft"] if adapter else [])]
    # Without a build's local part (2.9.0+cpu), which the package index does not have.
    return "".join(f"{name}=={version(name).partition('+')[0]}\n" for name in packages)


def _front_matter(title: str, *, hub: Mapping[str, Any] | None, base: str | None) -> dict[str, Any]:
    """Return what the hub reads a Space's settings from (https://huggingface.co/docs/hub/spaces-config-reference)."""
    try:
        gradio = version("gradio")
    except PackageNotFoundError:
        gradio = _GRADIO
    models = [name for name in (hub and str(hub["repo_id"]), base) if name]
    return {
        "title": title,
        "emoji": "💬",
        "colorFrom": "blue",
        "colorTo": "indigo",
        "sdk": "gradio",
        "sdk_version": gradio,
        "python_version": "3.11",
        "app_file": "app.py",
        "pinned": False,
        **({"models": models} if models else {}),
    }


def _readme(title: str, *, hub: Mapping[str, Any] | None, base: str | None, run_id: str) -> str:
    where = "in the folder `model`" if hub is None else f"`{hub['repo_id']}` at commit `{hub['commit']}`"
    lines = [
        f"# {title}",
        "",
        f"A chat with a model that runner trained (run {run_id}). The model is {where}"
        f"{f', an adapter for `{base}`' if base else ''}.",
        "",
        "On your own machine: `pip install gradio -r requirements.txt`, then `python app.py`.",
    ]
    if hub is not None and hub.get("private"):
        lines += ["", "The model's repository is private: give the Space a secret `HF_TOKEN` that may read it."]
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
