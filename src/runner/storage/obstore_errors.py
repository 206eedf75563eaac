"""Translate obstore's errors: unavailable for a while, not found, full, or the user's mistake."""

import errno
import re

from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

from runner.errors import UserError
from runner.storage.store import NotFound, StoreFull, StoreUnavailable

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([^<]+)</Code>")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist")
_NO_ROOM = ("QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage")
"""What servers say of a full disk, or of a bucket that has used up its quota; some of them with 403."""
_WRONG_REGION = ("incorrectly configured region", "AuthorizationHeaderMalformed", "PermanentRedirect")
# Reasons that appear only in obstore's debug text, not in its message.
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
    """Translate an error that obstore raised into one of `runner.storage.store`, or a `UserError`.

    Args:
        key: the key of the request; becomes the message of `NotFound`.
        remedy: what a user should check if the store refuses the request.
    """
    text = str(error)
    message = summary(text)
    status = _status(text)
    if any(sign in text for sign in _NO_BUCKET) or (status == 404 and "list request" in text):
        return UserError("the bucket does not exist", where=url, remedy="Create it first, or correct the URL.")
    if isinstance(error, FileNotFoundError):
        return NotFound(key)
    if any(sign in text for sign in _WRONG_REGION):
        return UserError(
            "the bucket is in another region", where=url, remedy="Set AWS_REGION to the bucket's own region."
        )
    if status in (413, 507) or any(f"<Code>{code}</Code>" in text for code in _NO_ROOM):
        return StoreFull(errno.ENOSPC, f"no room left in the store ({message})", url)
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or status in (401, 403):
        return UserError(f"the store refuses us: {message}", where=url, remedy=remedy)
    if "invalid peer certificate" in text or "InvalidCertificate" in text:
        return UserError(
            "the store's certificate is not trusted",
            where=url,
            remedy="Set AWS_CA_BUNDLE to the file that holds its certificate authority.",
        )
    return StoreUnavailable(f"{url}: {message}")


def timed_out(error: Exception) -> bool:
    """Whether a request ended because no byte arrived for too long."""
    text = str(error)
    return "kind: Timeout" in text or "TimedOut" in text


def summary(text: str) -> str:
    """Shorten obstore's message to one line: the status and the store's own code, or why the connection failed."""
    status = _status(text)
    if status is not None:
        code = _CODE.search(text)
        return f"HTTP {status} {code[1]}" if code else f"HTTP {status}"
    for sign, reason in _REASONS:
        if sign in text:
            return reason
    return text.partition("\n")[0][:200]


def _status(text: str) -> int | None:
    match = _STATUS.search(text)
    return int(match[1]) if match else None
