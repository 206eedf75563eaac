"""The chat page answers its own requests, and none of another site's."""

import asyncio
from typing import Any

import pytest

from runner.train.chat.guard import SameOrigin

OWN = {"host": "127.0.0.1:7860"}


def ask(headers: dict[str, str], *, method: str = "POST", body: bytes = b"{}", kind: str = "http") -> int:
    """The status of an answer; 101 for a websocket that is accepted."""
    sent: list[dict[str, Any]] = []
    chunks = [body[: len(body) // 2], body[len(body) // 2 :]]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if kind == "websocket":
            await send({"type": "websocket.accept"})
            return
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"answer"})

    async def receive() -> dict[str, Any]:
        chunk = chunks.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": kind,
        "method": method,
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    asyncio.run(SameOrigin(app, largest_body=1000)(scope, receive, send))
    first = sent[0]
    return {"websocket.accept": 101, "websocket.close": 403}.get(first["type"]) or int(first["status"])


@pytest.mark.parametrize(
    "headers",
    [
        OWN,
        {**OWN, "origin": "http://127.0.0.1:7860"},
        {"host": "localhost:7860", "origin": "http://localhost:7860"},
        {**OWN, "sec-fetch-site": "same-origin"},
    ],
)
def test_the_page_s_own_requests_are_answered(headers: dict[str, str]) -> None:
    assert ask(headers) == 200
    assert ask(headers, kind="websocket") == 101


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example:7860"},
        {},
        {**OWN, "origin": "http://evil.example"},
        {**OWN, "origin": "null"},
        {**OWN, "origin": "http://127.0.0.1:9999"},
        {**OWN, "origin": "https://127.0.0.1:7860"},
        {**OWN, "sec-fetch-site": "cross-site"},
        {**OWN, "sec-fetch-site": "same-site"},
    ],
)
def test_requests_of_others_are_refused(headers: dict[str, str]) -> None:
    assert ask(headers) == 403
    assert ask(headers, kind="websocket") == 403


def test_a_link_elsewhere_may_open_the_page() -> None:
    assert ask({**OWN, "sec-fetch-site": "cross-site"}, method="GET") == 200
    assert ask({"host": "evil.example"}, method="GET") == 403


def test_what_is_too_large_is_refused_with_and_without_its_length() -> None:
    assert ask({**OWN, "content-length": "1001"}) == 413
    assert ask({**OWN, "content-length": "-5"}) == 413
    assert ask({**OWN, "content-length": "2"}, body=b"x" * 1001) == 413
    assert ask(OWN, body=b"x" * 1000) == 200
