"""Shell: how the asynchronous connections to the store are made, and what their errors mean; see ``connection.py`` for the others."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import hiredis
from redis import asyncio as redis
from redis.exceptions import ConnectionError as RedisConnectionError

from regrow.actors import connection
from regrow.actors.connection import options
from regrow.runtime.errors import ConfigError


class Packing:
    """Packs commands in C, as the blocking client does by itself: with a thousand small ones a sixth of the time."""

    def pack_command(self, *args: Any) -> list[bytes]:
        """One command, as it is sent."""
        try:
            if " " not in args[0]:
                return [hiredis.pack_command(args)]
        except TypeError:  # there is something in it that only the other one knows, an enum for instance
            pass
        packed: list[bytes] = super().pack_command(*args)  # type: ignore[misc]
        return packed

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> list[bytes]:
        """Many commands, as they are sent."""
        return [b"".join(part for command in commands for part in self.pack_command(*command))]


@contextmanager
def connected() -> Iterator[None]:
    """uvloop has an error of its own for a write to a connection that was just reset: as Redis' error for a lost one."""
    try:
        yield
    except RuntimeError as error:
        if "closed" not in str(error):
            raise
        raise RedisConnectionError(str(error)) from error


@contextmanager
def translated() -> Iterator[None]:
    """Redis errors as ours."""
    with connection.translated(), connected():
        yield


def client_of(url: str, connections: int, timeout_s: float) -> redis.Redis:
    """A client with so many connections; a call above that waits for a free one.  Raises ConfigError for a URL that is none."""
    try:
        pool = redis.BlockingConnectionPool.from_url(
            url, max_connections=connections, timeout=timeout_s, **options(timeout_s)
        )
    except ValueError as error:
        raise ConfigError(f"--redis-url: {error}") from None
    pool.connection_class = type("PackingConnection", (Packing, pool.connection_class), {})
    return redis.Redis.from_pool(pool)
