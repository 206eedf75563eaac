"""The fault proxy does to a request what it was told, and nothing to the others."""

import http.client
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.servers.faults import (
    Answer,
    CutAnswer,
    CutUpload,
    Fault,
    FaultProxy,
    FlipBit,
    Hang,
    LoseAnswer,
    Refuse,
    Slow,
    faulty,
)
from support.servers.processes import serving

CONTENT = bytes(range(256)) * 4096  # 1 MiB

# Answers GET with what the last PUT brought; counts what reached it.
SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    body = b""
    def do_PUT(self):
        data = self.rfile.read(int(self.headers["content-length"]))
        if len(data) == int(self.headers["content-length"]):
            Handler.body = data
        self.answer(b"")
    def do_GET(self):
        self.answer(Handler.body)
    def answer(self, data):
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server that keeps the last body it was sent."""
    folder: Path = tmp_path_factory.mktemp("http")
    with serving(lambda port: [sys.executable, "-c", SERVER, str(port)], folder) as running:
        yield running.port


@pytest.fixture
def proxy(port: int) -> Iterator[FaultProxy]:
    """A proxy before it."""
    with faulty(port) as proxy:
        yield proxy


def request(proxy: FaultProxy, method: str, body: bytes = b"", timeout: float = 5) -> tuple[int, bytes]:
    """One request on a new connection: status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=timeout)
    try:
        connection.request(method, "/object", body=body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_without_a_rule_everything_passes_unchanged(proxy: FaultProxy) -> None:
    """A megabyte goes up and comes back as it was, and the proxy has seen both requests."""
    assert request(proxy, "PUT", CONTENT) == (200, b"")
    assert request(proxy, "GET") == (200, CONTENT)
    assert [(seen.method, seen.path, seen.fault) for seen in proxy.seen] == [
        ("PUT", "/object", None),
        ("GET", "/object", None),
    ]


@pytest.mark.parametrize("fault", [Refuse(), CutUpload(1000), Answer(503)])
def test_an_upload_that_is_cut_never_arrives(proxy: FaultProxy, fault: Fault) -> None:
    """Refused, cut midway or answered by the proxy: the server keeps what it had."""
    request(proxy, "PUT", b"before")
    proxy.inject(fault, times=1)

    if isinstance(fault, Answer):
        assert request(proxy, "PUT", CONTENT)[0] == fault.status
    else:
        with pytest.raises(OSError, match=r"[Rr]eset|[Bb]roken pipe|without response"):
            request(proxy, "PUT", CONTENT)

    assert request(proxy, "GET") == (200, b"before")


def test_a_lost_answer_leaves_the_work_done(proxy: FaultProxy) -> None:
    """The client sees a reset, and the server has the object."""
    proxy.inject(LoseAnswer(), times=1)

    with pytest.raises(OSError, match=r"[Rr]eset|without response"):
        request(proxy, "PUT", b"done")

    assert request(proxy, "GET") == (200, b"done")


@pytest.mark.parametrize("reset", [True, False])
def test_an_answer_is_cut_short_of_its_promised_length(proxy: FaultProxy, reset: bool) -> None:
    """By a reset or by an orderly end, the client gets fewer bytes than Content-Length says."""
    request(proxy, "PUT", CONTENT)
    proxy.inject(CutAnswer(1000, reset=reset), times=1)

    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)) as caught:
        request(proxy, "GET")

    assert not isinstance(caught.value, http.client.IncompleteRead) or len(caught.value.partial) == 1000


def test_a_flipped_bit_changes_one_byte(proxy: FaultProxy) -> None:
    """The length stays, one byte differs."""
    request(proxy, "PUT", CONTENT)
    proxy.inject(FlipBit(at_byte=1000), times=1)

    _, body = request(proxy, "GET")

    assert [index for index, (got, sent) in enumerate(zip(body, CONTENT, strict=True)) if got != sent] == [1000]


def test_a_hanging_request_is_never_answered(proxy: FaultProxy) -> None:
    """The client's own timeout ends it, and other requests pass meanwhile."""
    proxy.inject(Hang(), times=1)

    with pytest.raises(TimeoutError):
        request(proxy, "GET", timeout=0.2)

    assert request(proxy, "GET")[0] == 200


def test_a_slow_line_takes_its_time(proxy: FaultProxy) -> None:
    """Latency and bytes per second are kept."""
    request(proxy, "PUT", CONTENT[:100_000])
    proxy.inject(Slow(latency_seconds=0.1, bytes_per_second=500_000), times=1)
    began = time.monotonic()

    assert request(proxy, "GET")[1] == CONTENT[:100_000]

    assert time.monotonic() - began > 0.3


def test_rules_pick_their_requests(proxy: FaultProxy) -> None:
    """By method, by path, after some, for some, and at random with a seed."""
    proxy.inject(Answer(503), method="PUT", path="^/obj", skip=1, times=1)
    statuses = [request(proxy, method)[0] for method in ("GET", "PUT", "PUT", "PUT")]
    assert statuses == [200, 200, 503, 200]

    proxy.clear()
    proxy.inject(Answer(500), probability=0.5)
    assert {request(proxy, "GET")[0] for _ in range(20)} == {200, 500}
