"""Shell: the way into a tree's own store, past all of its parts: for faults to it, and for undoing them."""

from collections.abc import Callable
from typing import Any, Final, Self, cast

import redis

from regrow.runtime.errors import RegrowError

ANSWER_S: Final = 2.0  # for one answer


class StoreShut(RegrowError):
    """It did not answer, or refused."""

    code = "store_shut"


class StoreDoor:
    """A connection of our own; close it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: redis.Redis = redis.Redis.from_url(
            url, socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S, retry=None
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def pause(self, for_s: float) -> None:
        """Answer nothing that writes, for so long."""
        self._do(lambda: self._client.client_pause(int(for_s * 1000), all=False))

    def unpause(self) -> None:
        """Go on."""
        self._do(self._client.client_unpause)

    def disconnect(self) -> int:
        """Close every client's connection but this one; how many there were."""
        return int(self._do(lambda: self._client.client_kill_filter(_type="normal", skipme=True)))

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

    def _do(self, call: Callable[[], object]) -> Any:
        try:
            return cast("Any", call())
        except redis.RedisError as error:
            raise StoreShut(f"the store at {self._url}: {error}") from None
