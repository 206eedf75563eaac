"""Fixtures: each server of `servers.s3`, started when a test first asks for it and shared by the whole session."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from servers.s3 import SERVERS, S3Server, make_bucket


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], S3Server]]:
    """A function from a server's name to the running server with an empty bucket."""
    running: dict[str, S3Server] = {}
    with ExitStack() as stack:

        def start(name: str) -> S3Server:
            if name not in running:
                server = stack.enter_context(SERVERS[name](tmp_path_factory.mktemp(name)))
                make_bucket(server)
                running[name] = server
            return running[name]

        yield start
