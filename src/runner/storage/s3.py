"""Open stores on S3 and compatible services."""

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from obstore.store import S3Store

from runner.errors import UserError
from runner.storage.aws import REMEDY, AwsSettings, aws_settings
from runner.storage.object_store import BULK_CLIENT, QUICK_CLIENT, RETRIES, RemoteStore
from runner.storage.store import StoreUnavailable

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config  # types only: absent at run time

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def open_s3(url: str, bucket: str, prefix: str) -> RemoteStore:
    """Open a bucket, or a folder in one. Makes no request yet, unless the credentials come from the network.

    Raises:
        UserError: the name is not a bucket's, there are no credentials, or boto3's configuration is broken.
    """
    if not _BUCKET.fullmatch(bucket):
        raise UserError(f"{bucket!r} is not a valid bucket name", where=url, remedy="Write s3://BUCKET/FOLDER.")
    settings = aws_settings(url)
    endpoint, provider = settings.endpoint, settings.credentials
    region = settings.region or ("us-east-1" if endpoint else None)
    if region is None:
        raise UserError("no AWS region is set", where=url, remedy="Set AWS_REGION to the bucket's region.")
    config = _config(region, endpoint, bucket)
    client: ClientConfig = {"allow_http": (endpoint or "").startswith("http://")}
    if settings.ca_bundle:
        client["root_certificate"] = _certificates(settings.ca_bundle, url)

    def connect(timeouts: "ClientConfig") -> S3Store:
        options: ClientConfig = {**timeouts, **client}
        if provider is None:
            return S3Store(bucket, prefix=prefix or None, config=config, client_options=options, retry_config=RETRIES)
        return S3Store(
            bucket,
            prefix=prefix or None,
            config=config,
            client_options=options,
            retry_config=RETRIES,
            credential_provider=provider,
        )

    return RemoteStore(
        url,
        quick=connect(QUICK_CLIENT),
        bulk=connect(BULK_CLIENT),
        remedy=REMEDY,
        endpoint=endpoint,
        lister=S3Lister(url, bucket, prefix, settings),
        conditional=True if endpoint is None else None,  # Amazon's own S3 does; some compatible servers do not
    )


def _config(region: str, endpoint: str | None, bucket: str) -> "S3Config":
    if endpoint is None:
        # Over TLS the transport already protects what is sent; a second SHA-256 costs a third of the CPU time.
        return {
            "region": region,
            "virtual_hosted_style_request": "." not in bucket,
            "unsigned_payload": True,
        }
    return {
        "region": region,
        "endpoint": endpoint,
        "virtual_hosted_style_request": False,
        "unsigned_payload": endpoint.startswith("https://"),
        "disable_bulk_delete": True,  # not every server has it
    }


def _certificates(path: str, url: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise UserError(
            f"the certificates in {path} cannot be read: {error.strerror}",
            where=url,
            remedy="Correct AWS_CA_BUNDLE, or the profile's ca_bundle.",
        ) from error


class Listing(NamedTuple):
    """What a listing has found, by keys from the store's root."""

    objects: list[tuple[str, int, datetime]]
    """Key, bytes, and when each object was last written."""
    folders: list[str]
    """Keys of folders, if these were asked for, each with a slash at its end."""


class S3Lister:
    """Lists one bucket, or a folder in one, with boto3, which takes every key that S3 takes.

    obstore ends a listing with an error at the first key that it cannot name (``runs//x``, ``runs/../x``, control
    characters). Whoever can write to a bucket can put one there, and without this nobody could list it any more.

    Args:
        url: the store's, for messages.
        bucket: the bucket.
        root: the store's folder in it, without slashes around it; may be empty.
        settings: how to reach it.
    """

    def __init__(self, url: str, bucket: str, root: str, settings: AwsSettings) -> None:
        self.url = url
        self.bucket = bucket
        self.root = f"{root}/" if root else ""
        """What the store's keys begin with in the bucket."""
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
            for page in self.pages("list_objects_v2", Prefix=self.root + prefix, Delimiter="/" if folders else ""):
                for entry in page.get("Contents", ()):
                    found.objects.append((self._relative(entry["Key"]), entry["Size"], entry["LastModified"]))
                found.folders.extend(self._relative(entry["Prefix"]) for entry in page.get("CommonPrefixes", ()))
        except (BotoCoreError, ClientError) as error:
            raise StoreUnavailable(f"{self.url}: {error}") from error
        return found

    def pages(self, operation: str, **arguments: str) -> Iterator[dict[str, Any]]:
        """The pages of one of boto3's listings of the bucket; its errors are boto3's."""
        yield from self.client().get_paginator(operation).paginate(Bucket=self.bucket, **arguments)

    def client(self) -> Any:
        """A client of boto3's for the bucket's server."""
        import boto3  # type: ignore[import-untyped]  # here, and not above: its import takes longer than most listings
        from botocore import UNSIGNED  # type: ignore[import-untyped]
        from botocore.config import Config  # type: ignore[import-untyped]

        settings = self._settings
        options: dict[str, Any] = {"connect_timeout": 5, "read_timeout": 10, "retries": {"max_attempts": 4}}
        if settings.endpoint is not None:
            options["s3"] = {"addressing_style": "path"}
        if settings.credentials is None:
            options["signature_version"] = UNSIGNED
        return boto3.client(
            "s3",
            region_name=settings.region or "us-east-1",
            endpoint_url=settings.endpoint,
            verify=settings.ca_bundle,
            config=Config(**options),
        )

    def _relative(self, key: str) -> str:
        return key.removeprefix(self.root)
