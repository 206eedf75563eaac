"""Endpoints that a machine elsewhere cannot reach: those that name the machine that one launches from."""

import ipaddress
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from runner.errors import UserError

_NAMES = ("localhost", "ip6-localhost", "ip6-loopback", "host.docker.internal", "host.containers.internal")
ENDPOINT_VARIABLES = (
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AZURE_ENDPOINT",
    "AZURE_STORAGE_ENDPOINT",
    "GOOGLE_STORAGE_ENDPOINT",
    "STORAGE_EMULATOR_HOST",
    "HF_ENDPOINT",
    "WANDB_BASE_URL",
    "MLFLOW_TRACKING_URI",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
)
"""Variables that say where a service is. Their names in lower case count too."""


def is_loopback(endpoint: str) -> bool:
    """Whether a URL (or ``host:port``) names the machine that reads it. No name is looked up."""
    text = endpoint.strip()
    if "://" not in text:
        text = f"//{text}"
    try:
        host = urlsplit(text).hostname or ""
    except ValueError:
        return False
    host = host.rstrip(".").lower()
    if host in _NAMES or host.endswith((".localhost", "localhost.localdomain")):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        try:
            address = ipaddress.IPv4Address(socket.inet_aton(host))  # as the C library reads it: 127.1, 0x7f000001, 0
        except (OSError, ValueError):
            return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified


def refuse_loopback(variables: Mapping[str, str], *, where: str | None = None) -> None:
    """Make sure that no variable that a machine elsewhere is given sends it to itself.

    The message does not show the value, which may hold a password.

    Args:
        variables: values by name; those that name no service are not looked at.
        where: where they come from; None: from this process's environment.

    Raises:
        UserError: one does.
    """
    for name, value in variables.items():
        if name.upper() in ENDPOINT_VARIABLES and is_loopback(str(value)):
            raise UserError(
                f"{name} names this machine (a loopback address), which machines elsewhere do not reach",
                where=where or name,
                remedy="set it to an address that they reach, or unset it; `--infra local` runs here",
            )
