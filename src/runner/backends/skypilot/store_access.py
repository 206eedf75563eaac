"""How a run on another machine gets into its store: by the machine's own role, or by variables that are passed by name.

What is no secret (an endpoint, a region) stands in the task; credentials are named there, and their values are handed
to SkyPilot apart from it.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from runner.backends.base import ResolvedResources
from runner.backends.registry import ANY
from runner.backends.skypilot.endpoints import refuse_loopback
from runner.backends.skypilot.resources import only_on
from runner.errors import UserError
from runner.recipe.inputs.references import is_local
from runner.storage.aws import configured_endpoint

_SHARED = ("slurm",)
"""Clouds whose machines see the folders of the machine that one launches from, as a rule."""

_AWS_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_AWS_SETTINGS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION")
_AZURE_SECRETS = ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN")
_AZURE_ENDPOINTS = ("AZURE_ENDPOINT", "AZURE_STORAGE_ENDPOINT")
_GCS_ENDPOINTS = ("GOOGLE_STORAGE_ENDPOINT", "STORAGE_EMULATOR_HOST")
_AZURE_SETTINGS = ("AZURE_STORAGE_ACCOUNT_NAME",)


@dataclass(frozen=True, kw_only=True)
class StoreAccess:
    """What a machine is given so that it reaches the store."""

    environment: Mapping[str, str]
    """Variables that are no secret."""
    secrets: Mapping[str, str | None]
    """Values by name; None if this machine has no such value, and a launch would refuse."""

    def required(self) -> dict[str, str]:
        """Return the secrets.

        Raises:
            UserError: this machine has no value for one of them.
        """
        missing = [name for name, value in self.secrets.items() if value is None]
        if missing:
            raise UserError(
                f"no credentials for the store: {', '.join(missing)} not set",
                where="--store",
                remedy="export them, or set AWS_PROFILE, or run `aws configure`",
            )
        return {name: value for name, value in self.secrets.items() if value is not None}


def access(store_url: str, machines: ResolvedResources, environ: Mapping[str, str] = os.environ) -> StoreAccess:
    """Find out what the run's machines need to reach its store.

    Args:
        store_url: the store.
        machines: where the run may run.
        environ: this process's environment.

    Raises:
        UserError: the store is a folder of this machine, which they do not see.
    """
    if is_local(store_url) or store_url.startswith("file:"):
        if not only_on(machines, _SHARED):
            others = "other machines" if ANY in machines.infra else f"machines on {machines.infra}"
            raise UserError(
                f"the store is a folder of this machine, which {others} do not see",
                where=store_url,
                remedy="name a bucket: `--store s3://BUCKET/FOLDER` (or gs://, az://), or export RUNNER_STORE",
            )
        return StoreAccess(environment={}, secrets={})
    if store_url.startswith("s3://"):
        settings = _aws_settings(environ)
        for name, value in settings.items():
            if "@" in urlsplit(value).netloc:
                remedy = "export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead"
                raise UserError("credentials must not stand in an endpoint, nor in a task", where=name, remedy=remedy)
        refuse_loopback(settings)
        elsewhere = any(name.startswith("AWS_ENDPOINT_URL") for name in settings)
        if only_on(machines, ("aws",)) and not elsewhere:
            return StoreAccess(environment=settings, secrets={})  # SkyPilot gives its machines a role that may use S3
        return StoreAccess(environment=settings, secrets=_aws_keys(environ))
    if store_url.startswith("az://"):
        refuse_loopback({name: environ[name] for name in _AZURE_ENDPOINTS if environ.get(name)})
        settings = {name: environ[name] for name in _AZURE_SETTINGS if environ.get(name)}
        return StoreAccess(
            environment=settings, secrets={name: environ[name] for name in _AZURE_SECRETS if name in environ}
        )
    refuse_loopback({name: environ[name] for name in _GCS_ENDPOINTS if environ.get(name)})
    return StoreAccess(environment={}, secrets={})  # gs://: SkyPilot takes gcloud's own credentials to its machines


def _aws_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """What is no secret, as this machine reads it: an endpoint may also stand in a profile."""
    settings = {name: environ[name] for name in _AWS_SETTINGS if environ.get(name)}
    if environ is not os.environ:
        return settings
    endpoint = configured_endpoint("--store")
    names = [name for name in settings if name.startswith("AWS_ENDPOINT_URL")]
    if endpoint is None:
        return {name: value for name, value in settings.items() if name not in names}
    return settings if names else settings | {"AWS_ENDPOINT_URL": endpoint}


def _aws_keys(environ: Mapping[str, str]) -> dict[str, str | None]:
    """The keys, from the environment or else from where boto3 finds them (a profile, a login)."""
    if environ.get(_AWS_KEYS[0]):
        names = [*_AWS_KEYS, *(["AWS_SESSION_TOKEN"] if environ.get("AWS_SESSION_TOKEN") else [])]
        return {name: environ.get(name) for name in names}
    import boto3  # type: ignore[import-untyped]  # here: it takes longer to import than all the rest
    from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]

    try:
        found = boto3.Session().get_credentials()
        keys = found.get_frozen_credentials() if found else None
    except BotoCoreError as error:
        raise UserError(
            str(error), where="--store", remedy="fix it: `aws sts get-caller-identity` shows the account"
        ) from error
    if keys is None:
        return dict.fromkeys(_AWS_KEYS)
    values: dict[str, str | None] = dict(zip(_AWS_KEYS, (keys.access_key, keys.secret_key), strict=True))
    return values | ({"AWS_SESSION_TOKEN": keys.token} if keys.token else {})
