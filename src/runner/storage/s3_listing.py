"""List a bucket with boto3, which takes every key that S3 takes.

obstore ends a listing with an error at the first key that it cannot name (``runs//x``, ``runs/../x``, control
characters). Whoever can write to a bucket can put one there, and without this nobody could list it any more.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from runner.storage.store import StoreUnavailable

if TYPE_CHECKING:
    from runner.storage.aws import AwsSettings


class Listing(NamedTuple):
    """What a listing has found, by keys from the store's root."""

    objects: list[tuple[str, int, datetime]]
    """Key, bytes, and when each object was last written."""
    folders: list[str]
    """Keys of folders, if these were asked for, each with a slash at its end."""


class S3Lister:
    """Lists one bucket, or a folder in one.

    Args:
        url: the store's, for messages.
        bucket: the bucket.
        root: the store's folder in it, without slashes around it; may be empty.
        settings: how to reach it.
    """

    def __init__(self, url: str, bucket: str, root: str, settings: "AwsSettings") -> None:
        self._url = url
        self._bucket = bucket
        self._root = f"{root}/" if root else ""
        self._settings = settings

    def list(self, prefix: str, *, folders: bool) -> Listing:
        """List what is below `prefix`.

        Args:
            prefix: from the store's root.
            folders: list only what is directly below it, and the folders there.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

        found = Listing([], [])
        try:
            for page in self._pages(self._root + prefix, "/" if folders else ""):
                for entry in page.get("Contents", ()):
                    found.objects.append((self._relative(entry["Key"]), entry["Size"], entry["LastModified"]))
                found.folders.extend(self._relative(entry["Prefix"]) for entry in page.get("CommonPrefixes", ()))
        except (BotoCoreError, ClientError) as error:
            raise StoreUnavailable(f"{self._url}: {error}") from error
        return found

    def _pages(self, prefix: str, delimiter: str) -> Iterator[dict[str, Any]]:
        import boto3  # type: ignore[import-untyped]  # here, and not above: its import takes longer than most listings
        from botocore import UNSIGNED  # type: ignore[import-untyped]
        from botocore.config import Config  # type: ignore[import-untyped]

        settings = self._settings
        options: dict[str, Any] = {"connect_timeout": 5, "read_timeout": 10, "retries": {"max_attempts": 4}}
        if settings.endpoint is not None:
            options["s3"] = {"addressing_style": "path"}
        if settings.credentials is None:
            options["signature_version"] = UNSIGNED
        client = boto3.client(
            "s3",
            region_name=settings.region or "us-east-1",
            endpoint_url=settings.endpoint,
            verify=settings.ca_bundle,
            config=Config(**options),
        )
        pages = client.get_paginator("list_objects_v2")
        yield from pages.paginate(Bucket=self._bucket, Prefix=prefix, Delimiter=delimiter)

    def _relative(self, key: str) -> str:
        return key.removeprefix(self._root)
