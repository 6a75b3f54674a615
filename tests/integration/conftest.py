"""What several files share: one server per file, emptied for each test, and the dispatcher's side of the store on it; a gateway
of the tests' own, and a client of it.
"""

from collections.abc import Iterator

import pytest

from regrow.actors.store import Store
from regrow.gateway.client import Client
from support import small_gateway
from support.small_gateway import SmallGateway
from support.valkey import Valkey, valkey_server


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A server for all tests of a file."""
    with valkey_server(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture
def server(running: Valkey) -> Valkey:
    """The same, with nothing in it."""
    with running.client() as client:
        client.flushall()
        client.config_set("maxmemory", 0)
    return running


@pytest.fixture
def store(server: Valkey) -> Iterator[Store]:
    """The dispatcher's side of it."""
    store = Store.connect(server.url)
    yield store
    store.close()


@pytest.fixture
def gateway() -> Iterator[SmallGateway]:
    """One that runs what it is sent by itself, and fails as a test wants it to."""
    with small_gateway.running() as started:
        yield started


@pytest.fixture
def client(gateway: SmallGateway) -> Iterator[Client]:
    """Of that one."""
    with Client(gateway.url, patience_s=5) as opened:
        yield opened
