"""Requests to the Hugging Face hub and its dataset viewer: in parallel, with a short timeout, and a cache."""

import json
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from blake3 import blake3

from runner.recipe.problems import RecipePath
from runner.recipe.recipe import DataSource
from runner.storage.atomic import atomic_write

SECONDS = 2.5
"""The timeout of all requests to the hub together."""

_REMEMBERED_SECONDS = 3600.0
_ANSWER_BYTES = 8 << 20

Kind: TypeAlias = Literal["model", "dataset"]


@dataclass(frozen=True)
class HubReference:
    """A model or dataset on the hub that a recipe names."""

    at: RecipePath
    """Its path in the recipe: ``("model", "model_name_or_path")``."""
    kind: Kind
    repo: str
    """Its hub id."""
    revision: str
    """Branch, tag or commit."""


def request_status(endpoint: str, reference: HubReference, token: str | None) -> tuple[int, str]:
    """Return the HTTP status and the hub's error code for a file of the repository, whether the file exists or not.

    Raises:
        OSError: the hub cannot be reached.
    """
    status, code, _ = _ask_for_a_file(endpoint, reference, token)
    return status, code


def request_commit(endpoint: str, reference: HubReference, token: str | None) -> str | None:
    """Return the commit that a branch or tag of a repository stands for now; None if the hub does not say.

    Raises:
        OSError: the hub cannot be reached.
    """
    return _ask_for_a_file(endpoint, reference, token)[2]


def _ask_for_a_file(endpoint: str, reference: HubReference, token: str | None) -> tuple[int, str, str | None]:
    """Return the status, the error code and the commit of an answer, whether the file exists or not."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url  # not above: most commands ask no hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError

    file = "README.md" if reference.kind == "dataset" else "config.json"
    try:
        url = hf_hub_url(reference.repo, file, repo_type=reference.kind, revision=reference.revision, endpoint=endpoint)
        found = get_hf_file_metadata(url, token=token or False, timeout=SECONDS, endpoint=endpoint)
    except HFValidationError:
        return 404, "RepoNotFound", None  # the hub has no such names
    except HfHubHTTPError as error:
        headers = error.response.headers
        return error.response.status_code, headers.get("X-Error-Code", ""), headers.get("X-Repo-Commit")
    except HTTPError as error:
        raise OSError(str(error)) from error
    return 200, "", found.commit_hash


def fetch_first_row(viewer: str, source: DataSource, token: str | None) -> dict[str, Any] | None:
    """Return a dataset's splits from the viewer, and its first row if configuration and split are clear."""

    def get(path: str, **query: str | int) -> Any:
        request = urllib.request.Request(f"{viewer}/{path}?{urllib.parse.urlencode(query)}")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return json.loads(answer.read(_ANSWER_BYTES))

    try:
        splits: dict[str, list[str]] = {}
        for split_info in get("splits", dataset=source.path)["splits"]:
            splits.setdefault(split_info["config"], []).append(split_info["split"])
        viewed: dict[str, Any] = {"splits": splits}
        config, split = configuration(source, splits), source.split.partition("[")[0].strip()
        if config is not None and split in splits[config]:
            answer = get("rows", dataset=source.path, config=config, split=split, offset=0, length=1)
            viewed["rows"] = [entry["row"] for entry in answer["rows"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not every dataset has a viewer, and a new one gets it only after a while
    return viewed


def configuration(source: DataSource, splits: Mapping[str, Sequence[str]]) -> str | None:
    """Return the configuration that `datasets` would use; None if it would ask for one, or does not know the name."""
    if source.name is not None:
        return source.name if source.name in splits else None
    if len(splits) == 1:
        return next(iter(splits))
    return "default" if "default" in splits else None


def call_in_parallel(calls: Sequence[Callable[[], Any]], *, seconds: float) -> list[Any]:
    """Make network calls in parallel and return their results, None for those that failed or took too long."""
    answers: list[Any] = [None] * len(calls)

    def answer(index: int) -> None:
        try:
            answers[index] = calls[index]()
        except (OSError, ValueError):  # also an invalid address, or an answer that is not HTTP
            answers[index] = None

    # Daemon threads: a name server that never answers must not block the exit, and a pool would wait for its threads.
    threads = [threading.Thread(target=answer, args=(index,), daemon=True) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    until = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return list(answers)


class HubCache:
    """Remembers for an hour what exists on the hub, so that a sweep's trials do not ask again.

    Args:
        file: the cache's file.
        endpoint: the hub's address.
        token: part of the cache's key, since another token may see less. Only a few letters of its digest are stored.
    """

    def __init__(self, file: Path, endpoint: str, token: str | None) -> None:
        self._file = file
        self._scope = f"{endpoint} {blake3(token.encode()).hexdigest()[:8] if token else '-'}"
        self._times: dict[str, float] = {}
        try:
            read = json.loads(file.read_text())
            now = time.time()
            self._times = {key: at for key, at in read.items() if now - _REMEMBERED_SECONDS < at <= now}
        except (OSError, ValueError, AttributeError, TypeError, RecursionError):
            self._times = {}

    def _key(self, reference: HubReference) -> str:
        return f"{self._scope}: {reference.kind} {reference.repo}@{reference.revision}"

    def has(self, reference: HubReference) -> bool:
        return self._key(reference) in self._times

    def add(self, reference: HubReference) -> None:
        self._times[self._key(reference)] = time.time()

    def save(self) -> None:
        try:
            with atomic_write(self._file) as part:
                part.write_text(json.dumps(self._times))
        except OSError:
            return  # it is only a cache
