"""Fixtures: stores on each server of `servers.s3`, started when a test first asks for it, once for the session."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from runner.storage.open import open_store
from runner.storage.store import Store
from support.servers.s3 import BUCKET, SERVERS, S3Server, make_bucket
from support.thorough import cases

LANES = ("local", *SERVERS)
"""A folder, and every server."""
QUICK_LANES = ("local", "ministack", "swift", "rclone")
"""Those that `make test` takes: a folder, and a server that honours, emulates and ignores conditional writes."""


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], S3Server]]:
    """A function from a server's name to the running server with a bucket."""
    running: dict[str, S3Server] = {}
    with ExitStack() as stack:

        def start(name: str) -> S3Server:
            if name not in running:
                server = stack.enter_context(SERVERS[name](tmp_path_factory.mktemp(name)))
                make_bucket(server)
                running[name] = server
            return running[name]

        yield start


@pytest.fixture
def no_cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the AWS account of whoever runs the tests is found."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-aws-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def use_server(
    s3_server: Callable[[str], S3Server], no_cloud: None, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], S3Server]:
    """A function that starts a server and points the environment at it, for this test."""

    def use(name: str) -> S3Server:
        server = s3_server(name)
        for variable, value in server.environment().items():
            monkeypatch.setenv(variable, value)
        return server

    return use


@pytest.fixture(params=cases(LANES, quick=lambda lane: lane in QUICK_LANES))
def lane(request: pytest.FixtureRequest) -> str:
    """Where the store lies: every test that asks for one runs on all of them."""
    name: str = request.param
    return name


@pytest.fixture
def store_url(lane: str, tmp_path: Path, use_server: Callable[[str], S3Server]) -> str:
    """The URL of a fresh, empty store; the environment says how to reach it."""
    if lane == "local":
        return str(tmp_path / "store")
    use_server(lane)
    return f"s3://{BUCKET}/{uuid4().hex}"


@pytest.fixture
def store(store_url: str) -> Store:
    """A fresh, empty store."""
    return open_store(store_url)
