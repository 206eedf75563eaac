"""A hub on loopback that takes uploads as the real one does: repositories, git LFS, commits; and who may write."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

TOKEN = "hf_" + "t" * 34
"""The one token that may write."""
OWNER = "tester"
"""Whose it is."""

_LARGE = (".safetensors", ".gguf", ".bin")


@dataclass
class Repository:
    """What was pushed."""

    private: bool
    kind: str = "model"
    sdk: str | None = None
    """Of a Space."""
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)
    """Their messages."""


@dataclass
class Hub:
    """What it holds."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    """Contents by SHA-256, uploaded and not yet committed."""
    large_files: set[str] = field(default_factory=set)
    """The files that came by LFS."""

    def take(self, method: str, path: str, body: bytes, token: str | None) -> tuple[int, Any]:
        """Answer a request: status, and JSON."""
        path = path.partition("?")[0]
        if method == "PUT" and path.startswith("/lfs/"):
            self.large[path.removeprefix("/lfs/")] = body
            return 200, None
        if path == "/api/validate-yaml":
            text = json.loads(body)["content"].split("---")[1]
            return 200, {"errors": [], "warnings": [] if isinstance(yaml.safe_load(text), dict) else ["no mapping"]}
        if token != TOKEN:
            return 401, {"error": "Invalid username or password."}
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        kind = next((kind for kind in ("/api/models/", "/api/spaces/", "/spaces/") if path.startswith(kind)), "/")
        name = path.removeprefix(kind).removesuffix(".git/info/lfs/objects/batch")
        name, *verb = "/".join(name.split("/")[:2]), *name.split("/")[2:]
        repository = self.repositories.get(name)
        if repository is None:
            return 404, {"error": "Repository not found"}
        if path.endswith("/objects/batch"):
            return 200, {"transfer": "basic", "objects": [self._place(one) for one in json.loads(body)["objects"]]}
        if verb[:1] == ["preupload"]:
            return 200, {"files": [_way(one["path"]) for one in json.loads(body)["files"]]}
        if verb[:1] == ["commit"]:
            return self._commit(name, repository, body)
        return 200, {"id": name, "sha": f"{len(repository.commits):040}", "private": repository.private, "siblings": []}

    def _create(self, asked: dict[str, Any]) -> tuple[int, Any]:
        owner = asked.get("organization") or OWNER
        if owner != OWNER:
            return 403, {"error": "You don't have the rights to create a model under this namespace"}
        name = f"{owner}/{asked['name']}"
        url = {"url": f"{self.url}/{name}", "name": name}
        if name in self.repositories:
            return 409, {"error": "You already created this model repo", **url}
        self.repositories[name] = Repository(
            private=asked.get("visibility") == "private", kind=asked.get("type") or "model", sdk=asked.get("sdk")
        )
        return 200, url

    def _place(self, one: dict[str, Any]) -> dict[str, Any]:
        upload = {"href": f"{self.url}/lfs/{one['oid']}", "header": {}}
        return {**one, "actions": {"upload": upload}}

    def _commit(self, name: str, repository: Repository, body: bytes) -> tuple[int, Any]:
        files = {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                message = value["summary"]
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                content = self.large[value["oid"]]
                assert hashlib.sha256(content).hexdigest() == value["oid"]
                files[value["path"]] = content
                self.large_files.add(value["path"])
        repository.files |= files
        repository.commits.append(message)
        number = f"{len(repository.commits):040}"
        return 200, {"commitUrl": f"{self.url}/{name}/commit/{number}", "commitOid": number, "success": True}


def _way(path: str) -> dict[str, Any]:
    return {"path": path, "uploadMode": "lfs" if path.endswith(_LARGE) else "regular", "shouldIgnore": False}


@contextmanager
def receiving_hub() -> Iterator[Hub]:
    """The hub, while it is up."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            _, _, token = (self.headers.get("Authorization") or "").partition("Bearer ")
            status, answer = hub.take(self.command, self.path, body, token or None)
            data = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_HEAD = do_POST = do_PUT = _answer  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
