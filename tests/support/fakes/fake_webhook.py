"""A webhook on loopback: it keeps what it is told, and answers as it is asked to."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HANG = 0
"""Among the answers: none, until the webhook closes."""

SECRET_PATH = "/services/T0123/B4567/correct-horse-battery-staple"
"""What nobody but the webhook and who calls it may see."""


class FakeWebhook:
    """What the webhook was told.

    Args:
        answers: the status of each answer; the last one again and again.
    """

    def __init__(self, answers: list[int]) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self._answers = answers
        self._closing = threading.Event()
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = webhook._take(self.path, json.loads(body))
                if status == HANG:
                    webhook._closing.wait(60)
                    return
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{SECRET_PATH}"

    def _take(self, path: str, body: dict[str, Any]) -> int:
        self.paths.append(path)
        self.bodies.append(body)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def close(self) -> None:
        """Answer nobody any more."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def fake_webhook(*answers: int) -> Iterator[FakeWebhook]:
    """Within, the webhook listens; without `answers`, it takes everything."""
    webhook = FakeWebhook(list(answers) or [200])
    try:
        yield webhook
    finally:
        webhook.close()
