"""Shell: the way into a tree's own store, past all of its parts: for faults to it, and for undoing them."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Self, cast

import redis

from regrow.runtime.errors import RegrowError

ANSWER_S: Final = 2.0  # for one answer
SLICE_S: Final = 0.25  # of a pause of all
EXCHANGE: Final = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""


class StoreShut(RegrowError):
    """It did not answer, or refused."""

    code = "store_shut"


class StoreDoor:
    """A connection of our own; close it."""

    def __init__(self, url: str, answer_s: float = ANSWER_S) -> None:
        self._url = url
        self._client: redis.Redis = redis.Redis.from_url(
            url, socket_timeout=answer_s, socket_connect_timeout=answer_s, retry=None
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Its connections, too."""
        self._client.close()

    def pause_writes(self, for_s: float) -> None:
        """Answer nothing that writes for so long."""
        self._do(lambda: self._client.client_pause(int(for_s * 1000), all=False))

    def pause_all(self, for_s: float) -> None:
        """Answer nothing at all for so long, or until ``SLICE_S`` after this door is closed, by whatever ends its process.

        A pause of all cannot be ended from outside. So it is one in slices, all of which are on their way at once: the next is read
        as soon as one is over, before anybody else is heard, and the rest is forgotten with the connection.
        """
        slices = [SLICE_S] * int(for_s // SLICE_S) + [for_s % SLICE_S]
        pauses = [("CLIENT PAUSE", round(1000 * one), "ALL") for one in slices if round(1000 * one)]

        def send() -> None:
            connection: Any = self._client.connection_pool.get_connection()
            connection.send_packed_command(connection.pack_commands(pauses))
            connection.read_response()  # of the first

        self._do(send)

    def unpause(self) -> None:
        """Go on."""
        self._do(self._client.client_unpause)

    def disconnect(self) -> int:
        """Close every client's connection but this one; how many there were."""
        return sum(
            int(self._do(partial(self._client.client_kill_filter, _type=kind, skipme=True)))
            for kind in ("normal", "pubsub")
        )

    def flush_scripts(self) -> None:
        """Forget all scripts."""
        self._do(self._client.script_flush)

    def setting(self, name: str) -> str:
        """What it is set to."""
        return str(self._do(lambda: self._client.config_get(name))[name])

    def set(self, name: str, value: str) -> None:
        """Until it ends."""
        self._do(lambda: self._client.config_set(name, value))

    def used_bytes(self) -> int:
        """Memory that counts against its limit."""
        return int(self._do(lambda: self._client.info("memory"))["used_memory"])

    def records(self, pattern: str, field: str, value: str) -> list[str]:
        """The keys of all hashes that have this in that field."""
        found = self._do(lambda: list(self._client.scan_iter(pattern, 1000, "HASH")))
        return [key.decode() for key in found if self.field(key, field) == value.encode()]

    def field(self, key: str | bytes, name: str) -> bytes | None:
        """One field of a hash."""
        return cast("bytes | None", self._do(lambda: self._client.hget(key, name)))

    def exchange(self, key: str, field: str, old: bytes, new: bytes) -> bool:
        """Give a field another value if it has the old one; whether it had."""
        return bool(self._do(lambda: self._client.eval(EXCHANGE, 1, key, field, old, new)))

    def keys(self) -> int:
        """How many there are."""
        return int(self._do(self._client.dbsize))

    def _do(self, call: Callable[[], object]) -> Any:
        try:
            return cast("Any", call())
        except redis.RedisError as error:
            raise StoreShut(f"the store at {self._url}: {error}") from None
