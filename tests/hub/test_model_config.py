"""Models' configs: from a folder, bundled, or from a hub, whose answers are kept."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from runner.errors import UserError
from runner.hub.model_config import model_config
from runner.recipe.recipe import Data, DataSource, Recipe

CONFIG = {"model_type": "llama", "hidden_size": 64}


class Hub(BaseHTTPRequestHandler):
    """A hub on loopback with one model, one gated one, and one whose config is not JSON."""

    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        """Answer as the hub does."""
        self.asked.append((self.path, self.headers["Authorization"]))
        status, body = 404, b"{}"
        if self.path == "/someone/model/resolve/main/config.json":
            status, body = 200, json.dumps(CONFIG).encode()
        elif "gated" in self.path:
            status = 403
        elif "broken" in self.path:
            status, body = 200, b"<html>"
        elif "failing" in self.path:
            status = 500
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str | None]]]:
    """What the hub was asked for, while it is up."""
    requests: list[tuple[str, str | None]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OneHub", (Hub,), {"asked": requests}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield requests
    server.shutdown()
    server.server_close()


def of(name: str, **model: Any) -> Recipe:
    """A recipe with that model."""
    data = Data(train=(DataSource(path="a/b"),))
    return Recipe(name="r", method="sft", model={"model_name_or_path": name, **model}, data=data)


def test_a_bundled_config_is_not_asked_for(asked: list[tuple[str, str | None]]) -> None:
    assert model_config(of("HuggingFaceTB/SmolLM2-135M-Instruct"))["hidden_size"] == 576
    assert model_config(of("builtin:tiny-llama"))["hidden_size"] == 128
    assert asked == []


def test_a_folders_config_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert model_config(of(str(tmp_path))) == CONFIG


def test_another_is_fetched_once_and_kept(asked: list[tuple[str, str | None]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert model_config(of("someone/model")) == CONFIG
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert model_config(of("someone/model")) == CONFIG
    assert asked == [("/someone/model/resolve/main/config.json", "Bearer secret")]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("someone/gated", "someone/gated is gated or private, or is not on the hub"),
        ("someone/missing", "someone/missing has no config.json on the hub at main"),
        ("someone/broken", "the config of someone/broken is not JSON"),
        ("someone/failing", "the config of someone/failing cannot be fetched: HTTP 500"),
        ("/no/such/folder", "there is no folder /no/such/folder"),
        ("a b/c?d", "there is no folder a b/c"),
        ("builtin:nothing", "there is no built-in model"),
    ],
)
def test_what_is_wrong_is_said(asked: list[tuple[str, str | None]], name: str, message: str) -> None:
    with pytest.raises(UserError, match=r"model\.model_name_or_path") as caught:
        model_config(of(name))
    assert message in str(caught.value)


def test_offline_it_says_what_to_do(asked: list[tuple[str, str | None]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="go online once, or name a folder"):
        model_config(of("someone/else"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        model_config(of("someone/else"))


def test_an_endpoint_that_is_no_web_address_is_refused(
    asked: list[tuple[str, str | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc")
    with pytest.raises(UserError, match="is not a web address"):
        model_config(of("someone/else"))
