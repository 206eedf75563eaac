"""Requests to the Hugging Face hub and its dataset viewer: all at once, within a moment, and remembered for a while."""

import json
import os
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, Literal, TypeAlias

from blake3 import blake3

from runner.recipe.problems import RecipePath
from runner.recipe.recipe import DataSource

SECONDS = 2.5
"""How long the hub is waited for, all requests together."""

_REMEMBERED_SECONDS = 3600.0
_ANSWER_BYTES = 8 << 20

Kind: TypeAlias = Literal["model", "dataset"]


@dataclass(frozen=True)
class HubReference:
    """A model or dataset of the hub that a recipe names."""

    at: RecipePath
    """Where: ``("model", "model_name_or_path")``."""
    kind: Kind
    """What it is."""
    repo: str
    """Its hub id."""
    revision: str
    """Branch, tag or commit."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect says that the file is there, or that the repository has another name: either will do."""

    def redirect_request(self, *arguments: Any, **more: Any) -> None:
        return None


def request_status(endpoint: str, one: HubReference, token: str | None) -> tuple[int, str]:
    """The HTTP status and the hub's error code for a file of the repository; any file would do."""
    prefix, file = ("datasets/", "README.md") if one.kind == "dataset" else ("", "config.json")
    revision = urllib.parse.quote(one.revision, safe="")
    request = urllib.request.Request(f"{endpoint}/{prefix}{one.repo}/resolve/{revision}/{file}", method="HEAD")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=SECONDS) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as error:
        headers: Message = error.headers
        return error.code, headers.get("X-Error-Code", "")


def fetch_first_row(viewer: str, source: DataSource, token: str | None) -> dict[str, Any] | None:
    """The viewer's splits of a dataset, and its first row where configuration and split are clear."""

    def get(path: str, **query: str | int) -> Any:
        request = urllib.request.Request(f"{viewer}/{path}?{urllib.parse.urlencode(query)}")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return json.loads(answer.read(_ANSWER_BYTES))

    try:
        splits: dict[str, list[str]] = {}
        for one in get("splits", dataset=source.path)["splits"]:
            splits.setdefault(one["config"], []).append(one["split"])
        found: dict[str, Any] = {"splits": splits}
        config, split = configuration(source, splits), source.split.partition("[")[0].strip()
        if config is not None and split in splits[config]:
            answer = get("rows", dataset=source.path, config=config, split=split, offset=0, length=1)
            found["rows"] = [one["row"] for one in answer["rows"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not every dataset has a viewer, and it takes a while after an upload
    return found


def configuration(source: DataSource, splits: Mapping[str, Sequence[str]]) -> str | None:
    """The configuration that `datasets` would take; None: it would ask for one, or there is none of that name."""
    if source.name is not None:
        return source.name if source.name in splits else None
    if len(splits) == 1:
        return next(iter(splits))
    return "default" if "default" in splits else None


def call_in_parallel(calls: Sequence[Callable[[], Any]], *, seconds: float) -> list[Any]:
    """The answers of calls to the network, None for those that failed or took too long. Waits no longer than that."""
    answers: list[Any] = [None] * len(calls)

    def answer(index: int) -> None:
        try:
            answers[index] = calls[index]()
        except (OSError, ValueError):  # also when an address is none, or the answer no HTTP
            answers[index] = None

    # Daemons: a name server that never answers must hold nobody, and a pool waits for its threads.
    threads = [threading.Thread(target=answer, args=(index,), daemon=True) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    until = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return list(answers)


class HubCache:
    """What the hub has had within the hour: a sweep's trials and a second look ask no second time.

    Args:
        file: where it is kept.
        endpoint: the hub's address.
        token: what was read with; another one may see less. A few letters of its digest are kept, and not itself.
    """

    def __init__(self, file: Path, endpoint: str, token: str | None) -> None:
        self._file = file
        self._scope = f"{endpoint} {blake3(token.encode()).hexdigest()[:8] if token else '-'}"
        self._times: dict[str, float] = {}
        try:
            read = json.loads(file.read_text())
            now = time.time()
            self._times = {key: at for key, at in read.items() if now - _REMEMBERED_SECONDS < at <= now}
        except (OSError, ValueError, AttributeError, TypeError):
            self._times = {}

    def _key(self, one: HubReference) -> str:
        return f"{self._scope}: {one.kind} {one.repo}@{one.revision}"

    def has(self, one: HubReference) -> bool:
        return self._key(one) in self._times

    def add(self, one: HubReference) -> None:
        self._times[self._key(one)] = time.time()

    def save(self) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            part = self._file.with_name(f"{self._file.name}.{os.getpid()}")
            part.write_text(json.dumps(self._times))
            part.replace(self._file)
        except OSError:
            return  # a cache
