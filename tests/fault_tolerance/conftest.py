"""What several files share: one whole tree per file, with the flags that the file names (``FLAGS``), and a client of it."""

from collections.abc import Iterator

import pytest

from regrow.gateway.client import Client
from support.cluster import Cluster, running


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A tree for all tests of a file."""
    with running(tmp_path_factory.mktemp("tree"), *request.module.FLAGS) as it:
        yield it


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    """One for each test."""
    with Client(cluster.url) as opened:
        yield opened
