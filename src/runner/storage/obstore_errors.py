"""What a store's answer means for us: gone for a while, not there, no room, or the caller's mistake."""

import errno
import re

from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

from runner.errors import UserError
from runner.storage.store import NotFound, StoreFull, StoreUnavailable

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([^<]+)</Code>")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist")
_WRONG_REGION = ("incorrectly configured region", "AuthorizationHeaderMalformed", "PermanentRedirect")
# What obstore keeps for its debug text and leaves out of its message.
_REASONS = (
    ("Connection refused", "connection refused"),
    ("Connection reset", "the connection was reset"),
    ("dns error", "the host's name is not known"),
    ("TimedOut", "no answer in time"),
    ("kind: Timeout", "no answer in time"),
    ("IncompleteMessage", "the connection was closed before the answer was complete"),
    ("BrokenPipe", "the connection was closed"),
)


def translate_error(error: Exception, *, url: str, key: str, remedy: str) -> Exception:
    """obstore's `error` in the words of `runner.storage.store`.

    Args:
        error: what obstore raised.
        url: the store.
        key: what was asked for.
        remedy: what somebody whom the store refuses should look at.
    """
    text = str(error)
    message = summary(text)
    status = _status(text)
    if any(sign in text for sign in _NO_BUCKET) or (status == 404 and "list request" in text):
        return UserError("the bucket does not exist", where=url, remedy="Create it first, or mend the URL.")
    if isinstance(error, FileNotFoundError):
        return NotFound(key)
    if any(sign in text for sign in _WRONG_REGION):
        return UserError(
            "the bucket lies in another region", where=url, remedy="Set AWS_REGION to the bucket's own region."
        )
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or status in (401, 403):
        return UserError(f"the store refuses us: {message}", where=url, remedy=remedy)
    if "invalid peer certificate" in text or "InvalidCertificate" in text:
        return UserError(
            "the store's certificate is not trusted",
            where=url,
            remedy="Set AWS_CA_BUNDLE to the file that holds its certificate authority.",
        )
    if status == 507:
        return StoreFull(errno.ENOSPC, f"no room left in the store ({message})", url)
    return StoreUnavailable(f"{url}: {message}")


def timed_out(error: Exception) -> bool:
    """Whether the store stood still for too long."""
    text = str(error)
    return "kind: Timeout" in text or "TimedOut" in text


def summary(text: str) -> str:
    """One line out of obstore's many: the status and the store's own code, or what became of the connection."""
    status = _status(text)
    if status is not None:
        code = _CODE.search(text)
        return f"HTTP {status} {code[1]}" if code else f"HTTP {status}"
    for sign, reason in _REASONS:
        if sign in text:
            return reason
    return text.partition("\n")[0][:200]


def _status(text: str) -> int | None:
    found = _STATUS.search(text)
    return int(found[1]) if found else None
