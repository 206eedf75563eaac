"""A hub on loopback that has nothing, and says so in the hub's own words."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# What a repository's name makes the hub answer: https://huggingface.co's status and X-Error-Code.
_ANSWERS = {
    "someone/gated": (403, "GatedRepo"),
    "someone/missing": (404, "RepoNotFound"),
    "someone/unpinned": (404, "RevisionNotFound"),
    "someone/broken": (500, ""),
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, code = next((answer for name, answer in _ANSWERS.items() if name in self.path), (404, "RepoNotFound"))
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_POST = do_GET  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@contextmanager
def empty_hub() -> Iterator[str]:
    """The hub's address, while it is up."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
