"""A proxy on loopback that passes HTTP on to a server, except for the faults it is told to inject.

::

    with faulty(server.port) as proxy:
        proxy.inject(Answer(503), times=3, method="PUT")
        ...                       # talk to 127.0.0.1:proxy.port
        proxy.clear()

Each request travels over a connection of its own, so that a fault hits the request it is meant for. Plain HTTP/1.1.
"""

import asyncio
import random
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

BLOCK = 64 << 10
_ANY = re.compile("")


class Fault:
    """What happens to a request. `Hang` and friends below."""


@dataclass(frozen=True)
class Refuse(Fault):
    """The connection is reset as soon as the request's head has come; the server never sees it."""


@dataclass(frozen=True)
class CutUpload(Fault):
    """Both connections are reset after this many bytes of the request's body."""

    after_bytes: int = 1


@dataclass(frozen=True)
class LoseAnswer(Fault):
    """The server does what was asked; the connection is reset before the client hears of it."""


@dataclass(frozen=True)
class CutAnswer(Fault):
    """The answer promises its Content-Length and ends after this many bytes of body: by a reset, or in good order."""

    after_bytes: int
    reset: bool = True


@dataclass(frozen=True)
class Answer(Fault):
    """The proxy answers with this error itself; the server never sees the request."""

    status: int
    code: str = "SlowDown"


@dataclass(frozen=True)
class Slow(Fault):
    """Wait before passing the request on; then pass bytes on no faster than this (0: at full speed).

    The rate is the line's: both directions of all slow requests share it.
    """

    latency_seconds: float = 0.0
    bytes_per_second: int = 0


@dataclass(frozen=True)
class Hang(Fault):
    """Take the request and never answer."""


@dataclass(frozen=True)
class FlipBit(Fault):
    """One bit of the answer's body arrives wrong, which TCP's own checksum would not always see."""

    at_byte: int = 0


@dataclass
class _Rule:
    fault: Fault
    times: int | None
    skip: int
    probability: float
    method: str | None
    path: re.Pattern[str]
    since: re.Pattern[str]


@dataclass(frozen=True)
class Seen:
    """One request that came, and what became of it."""

    method: str
    path: str
    """Path and query, as sent."""
    fault: Fault | None


class FaultProxy:
    """Control of a running proxy, from any thread."""

    def __init__(self, upstream_port: int, seed: int = 0) -> None:
        self.port = 0
        self._upstream_port = upstream_port
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._rules: list[_Rule] = []
        self._seen: list[Seen] = []
        self._line_free_at = 0.0

    @property
    def endpoint(self) -> str:
        """The URL to give to the client."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def seen(self) -> list[Seen]:
        """Every request so far, in the order in which their heads came."""
        with self._lock:
            return list(self._seen)

    def inject(
        self,
        fault: Fault,
        *,
        times: int | None = None,
        skip: int = 0,
        probability: float = 1.0,
        method: str | None = None,
        path: str = "",
        since: str = "",
    ) -> None:
        """Inject `fault` into the requests that match, from now on. The first rule that matches decides.

        Args:
            fault: what happens to them.
            times: only to so many of them; None: to all until `clear`.
            skip: let so many of them through first.
            probability: to this share of them, at random (the seed is the proxy's).
            method: only to requests with this method.
            path: only to requests whose path and query contain a match of this expression.
            since: only from the first request on whose path and query contain a match of this expression.
        """
        with self._lock:
            self._rules.append(_Rule(fault, times, skip, probability, method, re.compile(path), re.compile(since)))

    def clear(self) -> None:
        """Forget all rules and all requests seen."""
        with self._lock:
            self._rules.clear()
            self._seen.clear()

    def _decide(self, method: str, path: str) -> Fault | None:
        with self._lock:
            fault = self._first_match(method, path)
            self._seen.append(Seen(method, path, fault))
            return fault

    def _first_match(self, method: str, path: str) -> Fault | None:
        for rule in self._rules:
            if not rule.since.search(path):
                continue
            rule.since = _ANY
            if rule.times == 0 or (rule.method and rule.method != method) or not rule.path.search(path):
                continue
            if rule.skip:
                rule.skip -= 1
                continue
            if self._random.random() >= rule.probability:
                continue
            if rule.times is not None:
                rule.times -= 1
            return rule.fault
        return None

    async def serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: one request, then it is closed."""
        upstream: asyncio.StreamWriter | None = None
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, path, length, head = _rewrite(head)
            fault = self._decide(method, path)
            if isinstance(fault, Refuse):
                return _reset(writer)
            if isinstance(fault, Answer):
                await _discard(reader, length)
                writer.write(_error(fault, method))
                return await writer.drain()
            if isinstance(fault, Hang):
                await _discard(reader, length)
                await asyncio.Event().wait()
            pace = fault if isinstance(fault, Slow) else Slow()
            await asyncio.sleep(pace.latency_seconds)
            answer, upstream = await asyncio.open_connection("127.0.0.1", self._upstream_port)
            upstream.write(head)
            if isinstance(fault, CutUpload) and length > fault.after_bytes:
                await self._copy(reader, upstream, pace, fault.after_bytes)
                _reset(upstream)
                return _reset(writer)
            await self._copy(reader, upstream, pace, length)
            if isinstance(fault, LoseAnswer):
                await answer.read()
                return _reset(writer)
            await self._pass_answer(answer, writer, fault, pace)
        except (OSError, asyncio.IncompleteReadError):
            _reset(writer)  # either side went away: the other one is told
        except asyncio.CancelledError:
            pass  # the proxy is being shut down, and asyncio would complain about the connection
        finally:
            for end in (upstream, writer):
                if end is not None:
                    end.close()

    async def _pass_answer(
        self, answer: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault | None, pace: Slow
    ) -> None:
        """The server closes after its answer, so its end is the end of the stream."""
        head = await answer.readuntil(b"\r\n\r\n")
        writer.write(re.sub(rb"(?i)\r\nconnection:[^\r]*", b"", head)[:-2] + b"connection: close\r\n\r\n")
        if isinstance(fault, CutAnswer):
            await self._copy(answer, writer, pace, fault.after_bytes)
            if fault.reset:
                await asyncio.sleep(0.01)  # a reset discards what the client has not read yet
                _reset(writer)
            return
        if isinstance(fault, FlipBit):
            await self._copy(answer, writer, pace, fault.at_byte)
            wrong = await answer.read(1)
            writer.write(bytes(byte ^ 1 for byte in wrong))
        await self._copy(answer, writer, pace, None)

    async def _copy(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, pace: Slow, length: int | None
    ) -> None:
        """So many bytes, or all that come."""
        block = BLOCK if pace.bytes_per_second == 0 else max(1, min(BLOCK, pace.bytes_per_second // 20))
        while length is None or length > 0:
            data = await source.read(block if length is None else min(block, length))
            if not data:
                if length is not None:
                    raise asyncio.IncompleteReadError(b"", length)
                return
            if pace.bytes_per_second:
                now = asyncio.get_running_loop().time()
                self._line_free_at = max(self._line_free_at, now) + len(data) / pace.bytes_per_second
                await asyncio.sleep(self._line_free_at - now)
            target.write(data)
            await target.drain()
            length = None if length is None else length - len(data)


@contextmanager
def faulty(upstream_port: int, seed: int = 0) -> Iterator[FaultProxy]:
    """Run a proxy in front of a port of 127.0.0.1, in a thread of its own, until the block ends."""
    proxy = FaultProxy(upstream_port, seed)
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(proxy.serve_connection, "127.0.0.1", 0)
        proxy.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        server.close()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
            hanging = asyncio.all_tasks(loop)
            for task in hanging:
                task.cancel()
            if hanging:
                loop.run_until_complete(asyncio.wait(hanging))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()

    thread = threading.Thread(target=run, name="fault-proxy", daemon=True)
    thread.start()
    ready.wait()
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=10)


def _rewrite(head: bytes) -> tuple[str, str, int, bytes]:
    """Method, path, length of the body, and the head to pass on: one request a connection, no waiting for a 100."""
    lines = head.decode("latin-1").split("\r\n")
    method, path, _ = lines[0].split(" ", 2)
    kept, length = [lines[0]], 0
    for line in lines[1:-2]:
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            length = int(value)
        if name.lower() == "transfer-encoding":
            raise ValueError(f"this proxy takes bodies of a known length only: {lines[0]}")
        if name.lower() not in ("connection", "expect"):
            kept.append(line)
    return method, path, length, "\r\n".join([*kept, "connection: close", "", ""]).encode("latin-1")


async def _discard(source: asyncio.StreamReader, length: int) -> None:
    while length > 0:
        data = await source.read(min(BLOCK, length))
        if not data:
            raise asyncio.IncompleteReadError(b"", length)
        length -= len(data)


def _error(fault: Answer, method: str) -> bytes:
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{fault.code}</Code><Message>injected</Message></Error>"
    head = (
        f"HTTP/1.1 {fault.status} Injected\r\ncontent-type: application/xml\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return (head + ("" if method == "HEAD" else body)).encode()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a TCP reset, as a machine that went away would."""
    sock = writer.get_extra_info("socket")
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
