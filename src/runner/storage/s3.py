"""S3, and everything that speaks it. boto3 finds the credentials, the region and the endpoint; it moves no bytes."""

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3  # type: ignore[import-untyped]
import botocore.session  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.store import S3Store

from runner.spec.errors import UserError
from runner.storage.remote import BULK_CLIENT, QUICK_CLIENT, RETRIES, RemoteStore

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config  # types only: not there at run time

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# boto3 renews credentials a quarter of an hour before they expire, so that what it gives out lasts longer than this.
_CREDENTIALS_LAST = timedelta(minutes=5)
_REMEDY = (
    "Look at the credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE), at AWS_ENDPOINT_URL, "
    "and at what they may do in this bucket: list, read, write and delete."
)


def open_s3(url: str, bucket: str, prefix: str) -> RemoteStore:
    """A bucket, or a folder in one. Asks nothing of the network yet, unless the credentials come from there.

    Raises:
        UserError: no bucket can be called that, there are no credentials, or boto3's configuration is broken.
    """
    if not _BUCKET.fullmatch(bucket):
        raise UserError(f"no bucket can be called {bucket!r}", where=url, remedy="Write s3://BUCKET/FOLDER.")
    try:
        core = botocore.session.get_session()
        session = boto3.Session(botocore_session=core)
        endpoint = _endpoint(core)
        region = os.environ.get("AWS_REGION") or session.region_name or ("us-east-1" if endpoint else None)
        bundle = core.get_config_variable("ca_bundle")
        provider = _credentials(session, url)
    except BotoCoreError as error:
        raise UserError(str(error), where=url, remedy=_REMEDY) from error
    if region is None:
        raise UserError("no AWS region is set", where=url, remedy="Set AWS_REGION to the bucket's region.")
    config = _config(region, endpoint, bucket)
    client: ClientConfig = {"allow_http": (endpoint or "").startswith("http://")}
    if bundle:
        client["root_certificate"] = _certificates(str(bundle), url)

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

    return RemoteStore(url, quick=connect(QUICK_CLIENT), bulk=connect(BULK_CLIENT), remedy=_REMEDY, endpoint=endpoint)


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


def _endpoint(core: botocore.session.Session) -> str | None:
    """AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, or what the profile in use says: boto3's own order."""
    if core.get_config_variable("ignore_configured_endpoint_urls"):
        return None
    profile = core.get_scoped_config()
    services = core.full_config.get("services", {}).get(profile.get("services"), {})
    found = (
        os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
        or services.get("s3", {}).get("endpoint_url")
        or profile.get("endpoint_url")
    )
    return str(found).rstrip("/") if found else None


def _credentials(session: boto3.Session, url: str) -> Any:
    if os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true"):
        return None
    if session.get_credentials() is None:
        raise UserError(
            "no AWS credentials were found",
            where=url,
            remedy="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run `aws configure`.",
        )
    return Boto3CredentialProvider(session, ttl=_CREDENTIALS_LAST)


def _certificates(path: str, url: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise UserError(
            f"the certificates in {path} cannot be read: {error.strerror}",
            where=url,
            remedy="Mend AWS_CA_BUNDLE, or the profile's ca_bundle.",
        ) from error
