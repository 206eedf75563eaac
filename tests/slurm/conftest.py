"""One testbed for all tests here."""

from collections.abc import Callable, Iterator

import pytest

from support.servers.s3 import S3Server
from support.slurm_bed import Testbed, standing


@pytest.fixture(scope="session")
def testbed(s3_server: Callable[[str], S3Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    """Slurm, SkyPilot and a store."""
    with standing(tmp_path_factory.mktemp("testbed"), s3_server("ministack")) as bed:
        yield bed
