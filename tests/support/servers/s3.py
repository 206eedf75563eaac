"""The S3 servers that the tests know, and what may be expected of each."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3

from support.servers.processes import ServerFailed, program, serving

ACCESS_KEY = "test:runner"
"""Swift's form (account:user); the others take anything."""
SECRET_KEY = "loopback-only-secret"
BUCKET = "bucket"
REGION = "us-east-1"


@dataclass(frozen=True)
class S3Server:
    """A running server with one empty bucket."""

    name: str
    endpoint: str
    """Where it answers."""
    process_group: int
    """The group of its processes."""
    listing_page: int = 1000
    """How many keys one answer to a listing holds at most."""
    certificate: Path | None = None
    """The authority that signed its certificate; None without TLS."""

    @property
    def port(self) -> int:
        """Its port on 127.0.0.1."""
        return int(self.endpoint.rpartition(":")[2])

    def environment(self) -> dict[str, str]:
        """The variables by which AWS's tools, and ours, find it."""
        variables = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        return variables | ({"AWS_CA_BUNDLE": str(self.certificate)} if self.certificate else {})


@contextmanager
def moto(folder: Path) -> Iterator[S3Server]:
    """moto: objects in memory, conditional writes honoured, no credentials checked."""

    def command(port: int) -> list[str]:
        return [program("moto_server"), "--host", "127.0.0.1", "--port", str(port)]

    with serving(command, folder, lambda port: {"MOTO_S3_DEFAULT_MAX_KEYS": "100"}) as running:
        yield S3Server("moto", f"http://127.0.0.1:{running.port}", running.process_group, listing_page=100)


@contextmanager
def ministack(folder: Path) -> Iterator[S3Server]:
    """ministack: objects in memory, conditional writes and multipart right, no credentials checked."""
    with serving(lambda port: [program("ministack")], folder, _ministack_environment) as running:
        yield S3Server("ministack", f"http://127.0.0.1:{running.port}", running.process_group)


@contextmanager
def ministack_on_disk(folder: Path, port: int | None = None) -> Iterator[S3Server]:
    """ministack with its objects in files: killed and started again on the same port, it has them all."""

    def environment(chosen: int) -> dict[str, str]:
        return {**_ministack_environment(chosen), "S3_PERSIST": "1", "S3_DATA_DIR": str(folder / "data")}

    with serving(lambda chosen: [program("ministack")], folder, environment, port=port) as running:
        yield S3Server("ministack", f"http://127.0.0.1:{running.port}", running.process_group)


@contextmanager
def ministack_tls(folder: Path) -> Iterator[S3Server]:
    """ministack behind TLS, with a certificate of an authority that nobody but these tests knows."""
    authority, certificate, key = make_certificate(folder / "certificate")

    def command(port: int) -> list[str]:  # its own TLS switch would take port 443 as well
        tls = ["--certfile", str(certificate), "--keyfile", str(key)]
        return [program("hypercorn"), "--workers", "0", "--bind", f"127.0.0.1:{port}", *tls, "ministack.app:app"]

    with serving(command, folder, _ministack_environment) as running:
        yield S3Server(
            "ministack-tls", f"https://127.0.0.1:{running.port}", running.process_group, certificate=authority
        )


def _ministack_environment(port: int) -> dict[str, str]:
    # Its MQTT and SFTP listeners would bind all interfaces, and its container reaper would look for a daemon.
    off = {"IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0", "DOCKER_HOST": "unix:///nonexistent/docker.sock"}
    return {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "SERVICES": "s3", "LOG_LEVEL": "WARNING", **off}


@contextmanager
def swift(folder: Path) -> Iterator[S3Server]:
    """OpenStack Swift: real disks, real signatures; a conditional write is a look before the write."""
    if not takes_extended_attributes(folder):
        raise ServerFailed(
            f"Swift keeps metadata in extended attributes, and the file system of {folder} has none for users; "
            "name a folder on another one with pytest's --basetemp"
        )
    script = str(Path(__file__).with_name("swift_server.py"))

    def command(port: int) -> list[str]:
        user = ACCESS_KEY.partition(":")[2]
        options = ["--folder", str(folder / str(port)), "--port", str(port), "--user", user, "--secret", SECRET_KEY]
        return [program("python"), "-W", "ignore", script, *options]

    with serving(command, folder) as running:
        yield S3Server("swift", f"http://127.0.0.1:{running.port}", running.process_group, listing_page=100)


@contextmanager
def rclone(folder: Path) -> Iterator[S3Server]:
    """rclone serving a folder: real signatures; conditional writes are ignored, silently."""
    data = folder / "data"
    data.mkdir(parents=True)

    def command(port: int) -> list[str]:
        places = ["--config", str(folder / "rclone.conf"), "--cache-dir", str(folder / "cache")]
        keys = ["--auth-key", f"{ACCESS_KEY},{SECRET_KEY}"]
        return [program("rclone"), *places, "serve", "s3", "--addr", f"127.0.0.1:{port}", *keys, str(data)]

    with serving(command, folder) as running:
        yield S3Server("rclone", f"http://127.0.0.1:{running.port}", running.process_group)


SERVERS: dict[str, Callable[[Path], AbstractContextManager[S3Server]]] = {
    "moto": moto,
    "ministack": ministack,
    "ministack-tls": ministack_tls,
    "swift": swift,
    "rclone": rclone,
}
CHECKS_SIGNATURES = ("swift", "rclone")
ATOMIC_CREATE = ("moto", "ministack", "ministack-tls")
"""Where exactly one of many simultaneous conditional writes wins."""
IGNORES_CREATE = ("rclone",)
"""Where a conditional write overwrites what is there."""


def make_certificate(folder: Path) -> tuple[Path, Path, Path]:
    """A new authority and a certificate of its for 127.0.0.1: authority, certificate, key."""
    folder.mkdir(parents=True)
    options = ["--quiet", "--dir", str(folder), "--identities", "127.0.0.1", "localhost"]
    subprocess.run([program("python"), "-m", "trustme", *options], check=True, cwd=folder)
    return folder / "client.pem", folder / "server.pem", folder / "server.key"


def takes_extended_attributes(folder: Path) -> bool:
    """Whether the file system of `folder` keeps a user's attributes (ext4, xfs, btrfs; tmpfs since Linux 6.6)."""
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / "xattr-probe"
    probe.touch()
    try:
        os.setxattr(probe, "user.probe", b"x" * 1024)
    except (OSError, AttributeError):  # AttributeError: not Linux
        return False
    finally:
        probe.unlink()
    return True


def make_bucket(server: S3Server) -> None:
    """As its administrator would."""
    session = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION)
    verify = str(server.certificate) if server.certificate else None
    session.client("s3", endpoint_url=server.endpoint, verify=verify).create_bucket(Bucket=BUCKET)
