"""Uploads in parts that were never completed, and old versions, in a bucket. obstore has no requests for either."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from runner.storage.s3 import S3Lister
from runner.storage.store import StoreUnavailable

if TYPE_CHECKING:
    from runner.storage.leftovers.find import Leftover

_AT_ONCE = 500
_SERVER_FAILED = 500


def uploads(lister: S3Lister, prefix: str) -> "Iterator[Leftover]":
    """Uploads below a folder that were begun and not completed, with the bytes of their parts."""
    from runner.storage.leftovers.find import Leftover

    for page in _pages(lister, "list_multipart_uploads", prefix):
        for entry in page.get("Uploads", ()):
            if not entry["Key"].startswith(lister.root + prefix):
                continue  # a server that takes no prefix
            size = sum(
                part["Size"]
                for parts in lister.pages("list_parts", Key=entry["Key"], UploadId=entry["UploadId"])
                for part in parts.get("Parts", ())
            )
            yield Leftover(
                kind="upload",
                key=entry["Key"].removeprefix(lister.root),
                size=size,
                written_at=entry["Initiated"],
                handle=entry["UploadId"],
            )


def versions(lister: S3Lister, prefix: str) -> "Iterator[Leftover]":
    """Versions below a folder that are not the newest, and the marks of deletions, in a versioned bucket."""
    from runner.storage.leftovers.find import Leftover

    for page in _pages(lister, "list_object_versions", prefix):
        old = [(entry, entry.get("Size", 0)) for entry in page.get("Versions", ()) if not entry.get("IsLatest", True)]
        old += [(entry, 0) for entry in page.get("DeleteMarkers", ())]
        for entry, size in old:
            if entry["Key"].startswith(lister.root + prefix) and entry.get("VersionId") not in (None, "null"):
                yield Leftover(
                    kind="version",
                    key=entry["Key"].removeprefix(lister.root),
                    size=size,
                    written_at=entry["LastModified"],
                    handle=entry["VersionId"],
                )


def delete(lister: S3Lister, leftovers: "Iterable[Leftover]") -> None:
    """Delete versions and abort uploads."""
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

    client, bucket = lister.client(), lister.bucket
    try:
        # Versions before the marks of their deletion: an object whose mark goes first is there again for a moment.
        for leftover in sorted(leftovers, key=lambda found: (found.key, found.size == 0)):
            key = lister.root + leftover.key
            try:
                if leftover.kind == "upload":
                    client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=leftover.handle)
                else:
                    client.delete_object(Bucket=bucket, Key=key, VersionId=leftover.handle)
            except ClientError as error:
                if _code(error) not in ("NoSuchUpload", "NoSuchVersion", "NoSuchKey", "404"):
                    raise
    except (BotoCoreError, ClientError) as error:
        raise StoreUnavailable(f"{lister.url}: {error}") from error


def _pages(lister: S3Lister, operation: str, prefix: str) -> Iterator[dict[str, Any]]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield from lister.pages(operation, Prefix=lister.root + prefix)
    except ClientError as error:
        # Servers that know no versions or uploads refuse in many ways, and listing either takes a permission of its
        # own: what cannot be listed is taken not to be there.
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", _SERVER_FAILED)
        if status >= _SERVER_FAILED and _code(error) not in ("NotImplemented", "501"):
            raise StoreUnavailable(f"{lister.url}: {error}") from error
    except BotoCoreError as error:
        raise StoreUnavailable(f"{lister.url}: {error}") from error


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
