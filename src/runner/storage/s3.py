"""Open stores on S3 and compatible services."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from obstore.store import S3Store

from runner.errors import UserError
from runner.storage.aws import REMEDY, aws_settings
from runner.storage.object_store import BULK_CLIENT, QUICK_CLIENT, RETRIES, RemoteStore
from runner.storage.s3_listing import S3Lister

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
