"""What is sent to the store by the asynchronous client is what the Redis client itself would send."""

import pytest
from redis.asyncio import Connection

from regrow.actors.aconnection import Packing, client_of
from regrow.actors.wakes import Hint

COMMANDS = [
    ("HMGET", "{regrow}:task:1", "status", "value"),
    ("EVALSHA", "a" * 40, 2, "q", "c", 1.5, 1764000000.123456, b"\xff\r\n", b"", "", -1),
    ("CONFIG GET", "maxmemory"),
    (b"PING",),
    ("PUBLISH", "ü", Hint.DUE),
    ("SET", "k", memoryview(b"view")),
    ("SET", "k", b"x" * 100_000),
]


class PackingConnection(Packing, Connection):
    """As ``client_of`` makes it."""


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command[0]))
def test_a_command_is_packed_as_the_redis_client_packs_it(command: tuple[object, ...]) -> None:
    ours, theirs = PackingConnection(), Connection()

    assert b"".join(ours.pack_command(*command)) == b"".join(theirs.pack_command(*command))  # type: ignore[arg-type]


def test_many_commands_are_packed_in_their_order() -> None:
    ours, theirs = PackingConnection(), Connection()

    assert b"".join(ours.pack_commands(COMMANDS)) == b"".join(theirs.pack_commands(COMMANDS))  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["redis://h", "rediss://h", "unix:///s"])
def test_every_kind_of_connection_packs_so(url: str) -> None:
    pool = client_of(url, 1, 1.0).connection_pool

    assert issubclass(pool.connection_class, Packing)
    assert isinstance(pool.make_connection(), Packing)
