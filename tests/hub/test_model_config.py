"""Models' configs: from a folder, bundled, or from a hub, whose answers are kept."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from runner.errors import UserError
from runner.hub.model_config import model_config
from runner.recipe.recipe import Data, DataSource, Recipe

CONFIG = {"model_type": "llama", "hidden_size": 64}


class Hub(BaseHTTPRequestHandler):
    """A hub on loopback with one model, one gated one, and one whose config is not JSON."""

    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        """Answer as the hub does, with its headers and error codes."""
        self.asked.append((f"{self.command} {self.path}", self.headers["Authorization"]))
        status, body, code = 404, b"{}", "EntryNotFound"
        if self.path == "/someone/model/resolve/main/config.json":
            status, body, code = 200, json.dumps(CONFIG).encode(), ""
        elif "gated" in self.path:
            status, code = 403, "GatedRepo"
        elif "nowhere" in self.path:
            status, code = 401, "RepoNotFound"
        elif "broken" in self.path:
            status, body, code = 200, b"<html>", ""
        elif "failing" in self.path:
            status, code = 500, ""
        self.send_response(status)
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", '"' + blake3(body).hexdigest()[:40] + '"')
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

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
    for name in ("HF_TOKEN", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    yield requests
    server.shutdown()
    server.server_close()


def of(name: str, **model: Any) -> Recipe:
    """A recipe with that model."""
    data = Data(train=(DataSource(path="a/b"),))
    return Recipe(name="r", method="sft", model={"model_name_or_path": name, **model}, data=data)


def test_what_was_fetched_is_where_training_looks_for_it(
    asked: list[tuple[str, str | None]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """And nothing is printed."""
    model_config(of("someone/model"))
    [file] = (tmp_path / "cache/huggingface/hub/models--someone--model/snapshots").rglob("config.json")
    assert json.loads(file.read_text()) == CONFIG
    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_no_config_for_its_size_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UserError, match="larger than 4 MiB"):
        model_config(of(str(tmp_path)))


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
    address = "/someone/model/resolve/main/config.json"
    assert dict.fromkeys(asked) == dict.fromkeys(
        [(f"HEAD {address}", "Bearer secret"), (f"GET {address}", "Bearer secret")]
    )
    assert [word for word, _ in asked].count(f"GET {address}") == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("someone/nowhere", "someone/nowhere is gated or private, or is not on the hub"),
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


@pytest.mark.parametrize("name", ["-x", "--set", "é", "a--b", "x.git", "a" * 97])
def test_names_that_the_hub_does_not_have_are_mistakes(name: str) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        model_config(Recipe(name="x", method="sft", model={"model_name_or_path": name}, data=Data(train=())))


@pytest.mark.parametrize("content", ["[" * 100_000, "pipe", "folder"])
def test_a_folders_config_that_is_none_is_a_mistake(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.json"
    if content == "pipe":
        os.mkfifo(path)
    elif content == "folder":
        path.mkdir()
    else:
        path.write_text(content)
    with pytest.raises(UserError, match=r"cannot be read|is not JSON"):
        model_config(Recipe(name="x", method="sft", model={"model_name_or_path": str(tmp_path)}, data=Data(train=())))
