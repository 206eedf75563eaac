"""Read AWS's settings for S3 (credentials, region, endpoint, certificates) from the same places as boto3, in its order.

If only environment variables decide, they are read here without boto3, whose import takes longer than listing runs.
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

# boto3 renews credentials 15 minutes before they expire, so those that it returns stay valid for longer than this.
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
    """How to reach S3."""

    region: str | None
    """Such as ``eu-central-1``; None if it is not set."""
    endpoint: str | None
    """A server other than AWS's own, without a slash at its end."""
    ca_bundle: str | None
    """A file of certificates to trust."""
    credentials: Callable[[], Any] | None
    """Returns credentials in obstore's form, as often as it is called. None: requests are not signed."""


def aws_settings(url: str) -> AwsSettings:
    """Return the settings of this machine.

    Args:
        url: the store's, for messages only.

    Raises:
        UserError: there are no credentials, or the configuration is broken.
    """
    return _from_environment() if _only_environment() else _from_boto3(url)


def configured_endpoint(url: str) -> str | None:
    """Return the server for S3 that this machine is set up for; None: Amazon's own. No credentials are needed.

    Args:
        url: the store's, for messages only.

    Raises:
        UserError: the configuration is broken.
    """
    if _only_environment():
        return _endpoint({})
    import botocore.session
    from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]

    try:
        core = botocore.session.get_session()
        return None if core.get_config_variable("ignore_configured_endpoint_urls") else _endpoint(_profile(core))
    except BotoCoreError as error:
        raise UserError(str(error), where=url, remedy=REMEDY) from error


def _only_environment() -> bool:
    """Whether boto3 would take every setting from environment variables."""
    return (
        bool(os.environ.get("AWS_ACCESS_KEY_ID") and os.environ.get("AWS_SECRET_ACCESS_KEY"))
        and not any(name in os.environ for name in _LEFT_TO_BOTO3)
        and not any(_exists(os.environ.get(name, usual)) for name, usual in _FILES)
    )


def _exists(written: str) -> bool:
    try:
        return Path(written).expanduser().exists()
    except RuntimeError:  # the home folder is not known
        return False


def _from_environment() -> AwsSettings:
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


def _from_boto3(url: str) -> AwsSettings:
    import boto3  # type: ignore[import-untyped]
    import botocore.session
    from botocore.exceptions import BotoCoreError
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
    """Return the settings of the profile in use; those for S3 win over those for all services."""
    profile = core.get_scoped_config()
    services = core.full_config.get("services", {}).get(profile.get("services"), {})
    return {**profile, **services.get("s3", {})}


def _endpoint(profile: dict[str, Any]) -> str | None:
    """Return the endpoint in boto3's own order: environment, then profile."""
    endpoint = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), profile.get("endpoint_url"))
    return str(endpoint).rstrip("/") if endpoint else None


def _unsigned() -> bool:
    return os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true")
