"""What AWS's settings say of S3: credentials, region, endpoint, certificates; found where boto3 looks, in its order.

Where nothing but environment variables has a say they are read here: boto3 takes longer to import than runs to list.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.errors import UserError

if TYPE_CHECKING:
    import botocore.session  # type: ignore[import-untyped]

# boto3 renews credentials a quarter of an hour before they expire, so that what it gives out lasts longer than this.
_CREDENTIALS_LAST = timedelta(minutes=5)
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_FILES = (("AWS_CONFIG_FILE", "~/.aws/config"), ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"))
_LEFT_TO_BOTO3 = (
    *("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SECURITY_TOKEN", "AWS_CREDENTIAL_EXPIRATION"),
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
)

REMEDY = (
    "Look at the credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE), at AWS_ENDPOINT_URL, "
    "and at what they may do in this bucket: list, read, write and delete."
)


@dataclass(frozen=True, kw_only=True)
class AwsSettings:
    """How to speak to S3."""

    region: str | None
    """``eu-central-1``; None: nobody says."""
    endpoint: str | None
    """A server other than AWS's own, without a slash at its end."""
    ca_bundle: str | None
    """A file of certificates to trust."""
    credentials: Callable[[], Any] | None
    """Gives them in obstore's form whenever they are asked for; None: requests are not signed."""


def aws_settings(url: str) -> AwsSettings:
    """What is set on this machine.

    Args:
        url: the store's, for messages.

    Raises:
        UserError: there are no credentials, or the configuration is broken.
    """
    return _of_environment() if _only_environment() else _of_boto3(url)


def _only_environment() -> bool:
    """Whether boto3 would find all that it looks for in environment variables, and would look nowhere else."""
    return (
        bool(os.environ.get("AWS_ACCESS_KEY_ID") and os.environ.get("AWS_SECRET_ACCESS_KEY"))
        and not any(name in os.environ for name in _LEFT_TO_BOTO3)
        and not any(Path(os.environ.get(name, usual)).expanduser().exists() for name, usual in _FILES)
    )


def _of_environment() -> AwsSettings:
    keys = {
        "access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
        "secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
        "token": os.environ.get("AWS_SESSION_TOKEN") or None,
        "expires_at": None,
    }
    return AwsSettings(
        region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or None,
        endpoint=_endpoint({}),
        ca_bundle=os.environ.get("AWS_CA_BUNDLE") or None,
        credentials=None if _unsigned() else lambda: keys,
    )


def _of_boto3(url: str) -> AwsSettings:
    import boto3  # type: ignore[import-untyped]
    import botocore.session
    from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        core = botocore.session.get_session()
        session = boto3.Session(botocore_session=core)
        if not _unsigned() and session.get_credentials() is None:
            raise UserError(
                "no AWS credentials were found",
                where=url,
                remedy="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run `aws configure`.",
            )
        bundle = core.get_config_variable("ca_bundle")
        return AwsSettings(
            region=os.environ.get("AWS_REGION") or session.region_name or None,
            endpoint=None if core.get_config_variable("ignore_configured_endpoint_urls") else _endpoint(_profile(core)),
            ca_bundle=str(bundle) if bundle else None,
            credentials=None if _unsigned() else Boto3CredentialProvider(session, ttl=_CREDENTIALS_LAST),
        )
    except BotoCoreError as error:
        raise UserError(str(error), where=url, remedy=REMEDY) from error


def _profile(core: "botocore.session.Session") -> dict[str, Any]:
    """Of the profile in use: what it says of S3 before what it says of all services."""
    profile = core.get_scoped_config()
    services = core.full_config.get("services", {}).get(profile.get("services"), {})
    return {**profile, **services.get("s3", {})}


def _endpoint(profile: dict[str, Any]) -> str | None:
    """In boto3's own order: the environment, then the profile."""
    found = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), profile.get("endpoint_url"))
    return str(found).rstrip("/") if found else None


def _unsigned() -> bool:
    return os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true")
