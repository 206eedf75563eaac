"""Post JSON to a URL that is a secret: a few tries, none of them long, and no word of the URL in what went wrong."""

import http.client
import time
import urllib.error
import urllib.request
from email.message import Message as Headers
from typing import IO, Any

TRIES = 3
REQUEST_SECONDS = 4.0
"""How long a server may take to connect, and then to answer."""
_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 5.0


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for an error: another server is not the one that was meant to know the message."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Headers, newurl: str
    ) -> None:
        """Make no other request."""


def post(url: str, body: bytes, *, patience_seconds: float) -> str | None:
    """Post a body; return None if the server took it, else what went wrong, without the URL.

    Refusals are final. What may pass (no connection, 429, 5xx) is tried again.

    Args:
        url: ``https://…`` or ``http://…``.
        body: JSON.
        patience_seconds: how long all tries may take together, at most.
    """
    until = time.monotonic() + patience_seconds
    problem: str | None = None
    for number in range(1, TRIES + 1):
        timeout = min(REQUEST_SECONDS, until - time.monotonic())
        if timeout <= 0:
            break
        problem, pause = _try(url, body, timeout_seconds=timeout)
        if pause is None or number == TRIES or time.monotonic() + pause > until:
            break
        time.sleep(pause)
    return problem


def _try(url: str, body: bytes, *, timeout_seconds: float) -> tuple[str | None, float | None]:
    """Return what went wrong, if something did, and after how long it is worth another try."""
    opener = urllib.request.build_opener(_NoRedirects)
    request = urllib.request.Request(
        url, data=body, headers={"Content-Type": "application/json", "User-Agent": "runner"}, method="POST"
    )
    try:
        with opener.open(request, timeout=timeout_seconds):
            return None, None
    except urllib.error.HTTPError as error:
        with error:
            redirect = ", a redirect, which is not followed" if 300 <= error.code < 400 else ""
            again = error.code == 429 or error.code >= 500
            return f"it answered {error.code}{redirect}", _pause(error.headers) if again else None
    except (http.client.InvalidURL, UnicodeError):
        return "its URL is not one", None
    except (OSError, http.client.HTTPException) as error:
        return _describe(error, timeout_seconds), _PAUSE_SECONDS


def _pause(headers: Any) -> float:
    """How long the server asks to wait, within reason."""
    try:
        seconds = float(headers.get("Retry-After", _PAUSE_SECONDS))
    except ValueError:
        seconds = _PAUSE_SECONDS
    return min(max(seconds, 0.0), _LONGEST_PAUSE_SECONDS)


def _describe(error: Exception, seconds: float) -> str:
    """Say what happened to a connection; the error's own text may contain the URL."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no answer within {seconds:.0f} s"
    known = cause.strerror if isinstance(cause, OSError) and isinstance(cause.strerror, str) else None
    return known or type(cause).__name__
