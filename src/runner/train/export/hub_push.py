"""Push to the Hugging Face hub: model, GGUF files and a card, in one commit to one repository."""

import json
import logging
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2 as httpx
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

from runner.errors import UserError
from runner.recipe.recipe import Export
from runner.train.export.errors import HubUnavailable
from runner.train.export.model_card import model_card

logger = logging.getLogger(__name__)

HUB_FILE = "hub.json"
"""The only file of the artifact `hub`: the repository and commit that the run was pushed as."""

_PUSH = "export.push_to_hub"
HUB_ERRORS = (HfHubHTTPError, httpx.HTTPError, OfflineModeIsEnabled)
"""What huggingface_hub raises if the hub refuses something or does not answer."""


def check_hub(export: Export, *, name: str) -> None:
    """Create the repository, to see that the token may write. If the hub does not answer, only warn.

    Args:
        export: the recipe's.
        name: the repository's name if the recipe gives none.

    Raises:
        UserError: there is no token, or the hub refuses it.
    """
    try:
        repository = _repository(export, name)
    except HubUnavailable as error:
        logger.warning(f"{error}; it is tried again at the end")
    else:
        logger.info(f"the model will be pushed to {repository}")


def push(
    export: Export, folders: Iterable[Path], folder: Path, *, run: Mapping[str, Any], result: Mapping[str, Any]
) -> dict[str, Any]:
    """Upload the files of `folders`, with a model card, into one repository.

    Args:
        export: names the repository.
        folders: of artifacts; of files with the same name, the last one is taken.
        folder: a local folder for the upload; is emptied first and removed at the end.
        run: the run's ``run.json``.
        result: its ``result.json``, or its content to be.

    Returns:
        `repo_id`, `url`, `commit` and `private`, for `HUB_FILE`.

    Raises:
        UserError: the hub refuses it.
        HubUnavailable: the hub does not answer.
    """
    repository = _repository(export, run["name"])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for source in folders:
        for file in source.iterdir():
            if file.is_file() and file.name != "README.md":  # peft's says less than ours
                (folder / file.name).unlink(missing_ok=True)
                (folder / file.name).symlink_to(file.absolute())
    files = sorted(file.name for file in folder.iterdir())
    (folder / "README.md").write_text(model_card(repository, run=run, result=result, files=files), encoding="utf-8")
    try:
        commit = HfApi().upload_folder(
            repo_id=repository, folder_path=folder, commit_message=f"Trained by runner as {run['run_id']}"
        )
        private = bool(HfApi().model_info(repository).private)
    except (*HUB_ERRORS, RuntimeError) as error:  # hf_xet raises RuntimeErrors
        raise explain(error, repository) from error
    shutil.rmtree(folder)
    url = f"{HfApi().endpoint}/{repository}"
    logger.info(f"pushed to {url}")
    return {"repo_id": repository, "url": url, "commit": commit.oid, "private": private}


def save_pushed(pushed: Mapping[str, Any], artifacts: Sequence[str], folder: Path) -> None:
    """Write `HUB_FILE`: what `push` returned, and the keys of the pushed artifacts."""
    (folder / HUB_FILE).write_text(json.dumps({**pushed, "artifacts": list(artifacts)}, indent=2) + "\n")


def has_pushed(folder: Path, repository: str, artifacts: Sequence[str]) -> bool:
    """Whether the `HUB_FILE` in `folder` records a push of (at least) these artifacts to this repository."""
    pushed = read_pushed(folder)
    return bool(pushed["repo_id"] == repository and set(artifacts) <= set(pushed["artifacts"]))


def read_pushed(folder: Path) -> dict[str, Any]:
    """Return the `HUB_FILE` in `folder`; its `artifacts` are empty if it is of a version that did not name them."""
    return {"artifacts": [], **json.loads((folder / HUB_FILE).read_text())}


def _repository(export: Export, name: str) -> str:
    """Create the repository if it does not exist, and return its full name."""
    name = export.hub_model_id or name
    try:
        return HfApi().create_repo(name, private=export.hub_private_repo, exist_ok=True).repo_id
    except LocalTokenNotFoundError as error:
        raise no_token() from error
    except HUB_ERRORS as error:
        raise explain(error, name) from error


def no_token(where: str = _PUSH) -> UserError:
    """Return the error for a missing token.

    Args:
        where: the setting or option that asks for the push.
    """
    return UserError(
        "pushing to the hub needs a token that may write",
        where=where,
        remedy="make one at https://huggingface.co/settings/tokens, export HF_TOKEN=… and pass `--secret HF_TOKEN`",
    )


def explain(error: Exception, repository: str, where: str = _PUSH) -> Exception:
    """Return the reason of a failed push: a `UserError`, or `HubUnavailable`.

    Args:
        error: one of `HUB_ERRORS`, or of hf_xet.
        repository: where it was to be pushed.
        where: the setting or option that asks for the push.
    """
    if isinstance(error, OfflineModeIsEnabled):
        return UserError("the hub is switched off (HF_HUB_OFFLINE)", where=where, remedy="unset HF_HUB_OFFLINE")
    response = getattr(error, "response", None)
    status = None if response is None else response.status_code
    if status == 401 and not os.environ.get("HF_TOKEN"):
        return no_token(where)
    if status in (401, 403):
        return UserError(
            f"the hub does not let this token write to {repository}",
            where=where,
            remedy="take a token with the right to write, and a repository of its owner's",
        )
    if status is not None and status < 500 and status not in (408, 409, 429):
        reason = getattr(error, "server_message", None) or f"status {status}"
        named = "export.hub_model_id" if where == _PUSH else where
        return UserError(f"the hub does not take {repository}: {reason}", where=named)
    return HubUnavailable(f"the hub does not answer ({type(error).__name__}{'' if status is None else f' {status}'})")
