"""Which errors come from outside of a run: a service, a network mount or a GPU failed, and the run can go on later.

A run that ends by such an error is interrupted, not failed. The tables are pure: they look at nothing but the error and
import none of the libraries whose errors they know by name (a reward function may use any client of any service).
"""

import errno
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

MOST_CHARACTERS = 300
"""Of an error's own words in a reason: a service may answer with a page of HTML."""

_NOT_OUTSIDE = (
    "OfflineModeIsEnabled",
    "SSLCertVerificationError",
    "InvalidURL",
    "MissingSchema",
    "UnsupportedProtocol",
)
"""Kinds of connection errors that are settings: a hub that is switched off, a certificate or URL that is wrong."""
_IN_PARENTHESES = tuple(f"({name})" for name in _NOT_OUTSIDE)
"""How `datasets` says which error it has met, without a cause."""

_NETWORK = frozenset(
    {
        # builtins, http, socket, ssl, subprocess, asyncio (whose TimeoutError is the builtin)
        *("ConnectionError", "TimeoutError", "gaierror", "herror", "SSLError", "TimeoutExpired"),
        *("HTTPException", "RemoteDisconnected", "IncompleteRead", "URLError"),
        # requests, urllib3
        *("Timeout", "ChunkedEncodingError", "MaxRetryError", "ProtocolError", "NewConnectionError", "RetryError"),
        # httpx (and httpx2, httpcore), aiohttp, websockets
        *("TransportError", "ConnectError", "ConnectTimeout", "ReadTimeout", "PoolTimeout", "RemoteProtocolError"),
        *("ClientConnectionError", "ClientPayloadError", "ServerTimeoutError", "ConnectionClosedError"),
        # openai, anthropic, google, boto
        *("APIConnectionError", "APITimeoutError", "RateLimitError", "InternalServerError", "OverloadedError"),
        *("ServiceUnavailable", "ServiceUnavailableError", "TooManyRequests", "ResourceExhausted", "DeadlineExceeded"),
        *("EndpointConnectionError", "ConnectionClosedError", "ReadTimeoutError", "ConnectTimeoutError"),
        # databases and brokers
        *("AutoReconnect", "ServerSelectionTimeoutError", "BusyLoadingError"),
        # our own
        "HubUnavailable",
    }
)
"""Names of exception classes (or of classes that they derive from) that say that a service did not answer."""

_BUSY_STATUSES = frozenset({408, 409, 423, 425, 429})
"""HTTP statuses below 500 after which the same request may succeed later."""

_MOUNT_ERRNOS = frozenset(
    {errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EREMOTEIO, errno.ENXIO, errno.ENODEV, errno.ENOLINK, errno.ECOMM}
)
_NETWORK_ERRNOS = frozenset(
    {
        *(errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ETIMEDOUT),
        *(errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ESHUTDOWN, errno.ETIME),
    }
)

_OS_ERROR = re.compile(r"\(os error (?P<number>[0-9]{1,4})\)")
"""How libraries in Rust (safetensors, tokenizers, hf_xet) write an errno into a text."""

_GPU = re.compile(
    "|".join(
        (
            r"unspecified launch failure",
            r"uncorrectable (NVLink|ECC) error",
            r"ECC error",
            r"launch timed out and was terminated",
            r"an illegal (memory access|instruction) was encountered",
            r"hardware stack error",
            r"misaligned address",
            r"CUDA error: unknown error",
            r"CUDA-capable device\(s\) is/are busy or unavailable",
            r"CUDA error: (driver shutting down|system not yet initialized|device not ready|initialization error)",
            r"no CUDA-capable device is detected",
            r"GPU is lost|fallen off the bus|CUDA_ERROR_(ECC|NVLINK|LAUNCH|UNKNOWN|DEVICE_UNAVAILABLE)",
            r"CUBLAS_STATUS_(EXECUTION_FAILED|INTERNAL_ERROR|NOT_INITIALIZED|ALLOC_FAILED)",
            r"CUDNN_STATUS_(EXECUTION_FAILED|INTERNAL_ERROR|NOT_INITIALIZED)",
            r"HIP error: (unspecified launch failure|an illegal memory access)",
        )
    )
)
_COLLECTIVE = re.compile(
    "|".join(
        (
            r"NCCL error",
            r"nccl(Internal|System|UnhandledCuda|Remote)Error",
            r"Watchdog caught collective operation timeout",
            r"ProcessGroupNCCL",
            r"(Gloo|gloo).*(connectFullMesh|[Tt]imed? ?out)",
            r"Timed out waiting [0-9]+ms for (send|recv)",
        )
    )
)
_DATA_ON_GPU = re.compile(r"device-side assert triggered|indexSelect(Large|Small)Index|srcIndex < srcSelectDimSize")

DATA_REMEDY = (
    "an index is beyond its table on the GPU: mostly a token id that the model's embeddings do not have (another "
    "model's tokenizer, an added token), or a position beyond the model's; with CUDA_LAUNCH_BLOCKING=1 in the "
    "environment the log names the place"
)
"""What to look for after a device-side assertion: the data or the tokenizer cause it, and a retry meets it again."""


@dataclass(frozen=True, kw_only=True)
class OutsideCause:
    """Something outside of the run that failed."""

    what: str
    """The sentence's beginning, such as "a service does not answer"."""
    error: BaseException
    """The error in the chain that says so."""

    def __str__(self) -> str:
        return f"{self.what} ({_name_and_message(self.error)})"


def outside_cause(error: BaseException | None) -> OutsideCause | None:
    """Return what outside of the run caused an error; None if nothing did, as far as its chain of causes says."""
    chain = list(_chain(error))
    if any(_is_named(link, _NOT_OUTSIDE) or str(link).endswith(_IN_PARENTHESES) for link in chain):
        return None
    for link in chain:
        what = _kind(link)
        if what is not None:
            return OutsideCause(what=what, error=link)
    return None


def is_data_on_gpu(error: BaseException | None) -> bool:
    """Whether an error is CUDA's way of saying that an index in the data is out of range."""
    return any(_DATA_ON_GPU.search(str(link)) for link in _chain(error))


def _kind(error: BaseException) -> str | None:
    text = str(error)
    status = _http_status(error)
    if status is not None:
        return "a service does not answer" if status >= 500 or status in _BUSY_STATUSES else None
    number = _errno(error, text)
    if number in _MOUNT_ERRNOS:
        return "a disk or network mount failed"
    if number in _NETWORK_ERRNOS or _is_named(error, _NETWORK):
        return "a service does not answer"
    if _is_named(error, ("RuntimeError",)) and not _DATA_ON_GPU.search(text):
        if _GPU.search(text):
            return "the GPU failed"
        if _COLLECTIVE.search(text):
            return "the training processes lost each other"
    return None


def _is_named(error: BaseException, names: frozenset[str] | tuple[str, ...]) -> bool:
    return any(base.__name__ in names for base in type(error).__mro__)


def _http_status(error: BaseException) -> int | None:
    """The HTTP status that an error of any client carries: requests', httpx', aiohttp's, urllib's, openai's."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):  # botocore
        metadata = response.get("ResponseMetadata")
        return _status(metadata.get("HTTPStatusCode")) if isinstance(metadata, Mapping) else None
    for holder, names in ((response, ("status_code", "status")), (error, ("status_code", "status", "code"))):
        for name in names:
            status = _status(getattr(holder, name, None))
            if status is not None:
                return status
    return None


def _status(value: object) -> int | None:
    return int(value) if isinstance(value, int) and 100 <= value <= 599 else None


def _errno(error: BaseException, text: str) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    written = _OS_ERROR.search(text)
    return None if written is None else int(written["number"])


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, its causes, what was being handled when it was raised, and the members of groups; each once."""
    seen: set[int] = set()
    left = [error]
    while left:
        link = left.pop(0)
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        left.append(link.__cause__ or (None if link.__suppress_context__ else link.__context__))
        if isinstance(link, BaseExceptionGroup):
            left.extend(link.exceptions)


def _name_and_message(error: BaseException) -> str:
    text = " ".join(str(error).split())
    text = text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
