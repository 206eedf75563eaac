"""A tracker that fails or is away costs a warning and a few seconds, and never the training."""

import errno
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from transformers import TrainerCallback

from runner.train.loggers.tracker_guard import answers, guarded, within


@pytest.fixture
def server() -> Iterator[str]:
    """A server that answers with the status that its path names."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(self.path.strip("/")))
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listening.server_port}"
    listening.shutdown()


@pytest.mark.parametrize(("status", "is_there"), [(200, True), (401, True), (404, True), (500, False), (503, False)])
def test_a_server_is_there_if_it_answers_at_all(server: str, status: int, is_there: bool) -> None:
    assert (answers(f"{server}/{status}") is None) is is_there


def test_a_closed_port_is_noticed_at_once() -> None:
    began = time.monotonic()
    assert "refused" in str(answers("http://127.0.0.1:9"))
    assert time.monotonic() - began < 1


def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        assert answers(f"http://127.0.0.1:{silent.getsockname()[1]}", seconds=0.5) is not None
        assert time.monotonic() - began < 2


def test_a_url_that_is_none_is_no_server() -> None:
    assert answers("api.wandb.ai") is not None


class Fragile(TrainerCallback):
    """A tracker that breaks at its third record."""

    def __init__(self) -> None:
        self.records: list[int] = []
        self.calls = 0

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.calls >= 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.records.append(self.calls)
        return control


def test_what_a_tracker_raises_is_a_warning_and_its_last_call(caplog: pytest.LogCaptureFixture) -> None:
    tracker: Any = guarded(Fragile, "fragile")()
    for _ in range(5):
        tracker.on_log(None, None, None)
    assert (tracker.records, tracker.calls) == ([1, 2], 3)
    (record,) = caplog.records
    assert "fragile failed (OSError: [Errno 28] No space left on device): the training goes on" in record.message


def test_a_second_try_is_made_once(caplog: pytest.LogCaptureFixture) -> None:
    tried = []
    tracker: Any = guarded(Fragile, "fragile", second_try=lambda callback: not tried.append(callback))()
    for _ in range(5):
        tracker.on_log(None, None, None)
    assert (len(tried), tracker.calls) == (1, 4)
    assert [record.message.split(" (")[0][:30] for record in caplog.records] == [
        "report_to: fragile: OSError: [",
        "report_to: fragile failed",
    ]


def test_a_call_that_takes_too_long_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    began = time.monotonic()
    within(0.2, lambda: time.sleep(5), "the last upload")
    assert time.monotonic() - began < 2
    assert "the last upload takes longer than 0 s" in caplog.text


def test_a_call_that_fails_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ConnectionError("reset")

    within(5, fail, "the last upload")
    assert "the last upload failed (ConnectionError: reset)" in caplog.text
