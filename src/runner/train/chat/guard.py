"""Refuse requests to the chat page that come from other sites, by other names for this machine, or that are too large.

The page listens on loopback, but every page in the user's browser can send requests there. A page of another site is
told apart by the ``Origin`` that browsers send; one that has its own name resolved to 127.0.0.1 ("DNS rebinding"), by
the ``Host``.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

HOSTS = ("127.0.0.1", "localhost")
"""The names under which the page answers."""

LARGEST_BODY = 1 << 20
"""Bytes of a request at most: a long conversation has some tens of thousands."""


class TooLarge(Exception):
    """A request has more bytes than it may have."""


class SameOrigin:
    """ASGI middleware that answers requests of the page's own origin only, and of a bounded size.

    Args:
        app: what answers.
        largest_body: bytes of a request at most.
    """

    def __init__(self, app: App, largest_body: int = LARGEST_BODY) -> None:
        self._app = app
        self._largest_body = largest_body

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it: 403 for another origin, 413 for its size."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        if not _is_own(headers, scope):
            await _refuse(scope, send, 403, b"this page answers requests of its own only")
            return
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._largest_body:
            await _refuse(scope, send, 413, b"too large")
            return
        left = self._largest_body
        answering = False

        async def send_noted(message: Message) -> None:
            nonlocal answering
            answering = True
            await send(message)

        async def receive_bounded() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b"")) + len(message.get("bytes") or b"") + len(message.get("text") or "")
            if left < 0:
                raise TooLarge
            return message

        try:
            await self._app(scope, receive_bounded, send_noted)
        except TooLarge:
            if not answering:
                await _refuse(scope, send, 413, b"too large")


def _is_own(headers: MutableMapping[bytes, bytes], scope: Message) -> bool:
    host = headers.get(b"host", b"")
    if host.rsplit(b":", 1)[0].decode(errors="replace") not in HOSTS:
        return False
    origin = headers.get(b"origin")
    if origin is not None:
        return origin == b"http://" + host
    # Without an origin: the address bar, a link, or a program such as curl. Browsers say which.
    is_read = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
    return is_read or headers.get(b"sec-fetch-site", b"same-origin") == b"same-origin"


async def _refuse(scope: Message, send: Send, status: int, text: bytes) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
