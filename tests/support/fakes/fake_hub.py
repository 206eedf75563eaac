"""A hub on loopback, which says in the hub's own words what it has and what it has not."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

GOOD_TOKEN = "hf_good"

# What a repository's name makes the hub answer: https://huggingface.co's status and X-Error-Code.
_ANSWERS = {
    "someone/gated": (403, "GatedRepo"),
    "someone/missing": (404, "RepoNotFound"),
    "someone/unpinned": (404, "RevisionNotFound"),
    "someone/broken": (500, ""),
    "someone/there": (200, ""),
    "someone/renamed": (307, ""),
    "someone/without-readme": (404, "EntryNotFound"),
}

# What the dataset viewer says of a dataset: its configurations with their splits, and a row.
VIEWED: dict[str, tuple[dict[str, list[str]], list[dict[str, Any]]]] = {
    "someone/there": ({"default": ["train", "test"]}, [{"question": "3 + 4?", "solution": "Count on.", "lang": "en"}]),
    "someone/without-readme": ({"en": ["train"], "de": ["train"]}, [{"text": "Hello."}]),
    "someone/renamed": ({"default": ["train"]}, []),
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        url = urlsplit(self.path)
        if url.path in ("/splits", "/rows"):
            self._view(url.path, {key: values[0] for key, values in parse_qs(url.query).items()})
            return
        status, code = next((answer for name, answer in _ANSWERS.items() if name in self.path), (404, "RepoNotFound"))
        token = self.headers.get("Authorization", "")
        if token == f"Bearer {GOOD_TOKEN}" and code == "GatedRepo":
            status, code = 200, ""
        elif token and token != f"Bearer {GOOD_TOKEN}":
            status, code = 401, ""
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        if (commit := self.server.commit) is not None:  # type: ignore[attr-defined]
            self.send_header("X-Repo-Commit", commit)
        if status == 307:
            self.send_header("Location", self.path.replace("renamed", "there"))
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_POST = do_GET  # noqa: N815

    def _view(self, path: str, query: dict[str, str]) -> None:
        viewed = VIEWED.get(query["dataset"])
        if viewed is None:
            self.send_error(404)
            return
        splits, rows = viewed
        answer: dict[str, Any] = {
            "splits": [{"config": config, "split": split} for config, names in splits.items() for split in names]
        }
        if path == "/rows":
            answer = {"rows": [{"row_idx": 0, "row": row, "truncated_cells": []} for row in rows]}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


class Hub(ThreadingHTTPServer):
    """The server; `asked` holds the paths of all requests, `commit` is where every branch is."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.commit: str | None = None
        self.endpoint = f"http://127.0.0.1:{self.server_port}"


@contextmanager
def hub() -> Iterator[Hub]:
    """The hub, while it is up."""
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def empty_hub() -> Iterator[str]:
    """The hub's address, while it is up."""
    with hub() as server:
        yield server.endpoint
