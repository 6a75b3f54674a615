"""Shell: the record of what has happened, as the gateway reads it, for asyncio: page by page, and as it grows; faults it adds.

The same options and errors as ``store.py``.  What an entry holds is in ``happenings.py``.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final, Self, cast

from redis import asyncio as redis
from redis.exceptions import RedisError

from regrow.actors import keys
from regrow.actors.aconnection import client_of, connected, translated
from regrow.actors.cancellation import raise_if_cancelled
from regrow.actors.connection import QUIET_S, TIMEOUT_S, options, retry_pause_s
from regrow.actors.happenings import KEPT, WHOLE, Entry, FaultEvent, Place, encode_event

PAGE: Final = 200  # entries that are read at once
CONNECTIONS: Final = 8  # for pages; a call above that waits for a free one


class Annals:
    """The record in the store at ``url``.  Calls may raise StoreUnavailable (repeat it) and StoreError."""

    def __init__(self, url: str, client: redis.Redis) -> None:
        self._url = url
        self._client = client

    @classmethod
    def connect(cls, url: str) -> Self:
        """Nothing is sent yet.  Raises ConfigError for a URL that is none."""
        return cls(url, client_of(url, CONNECTIONS, TIMEOUT_S))

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def add(self, fault: FaultEvent) -> Place:
        """Put this on record; its place."""
        fields = {"kind": "fault", "event": encode_event(fault)}
        with translated():
            name = await self._client.xadd(keys.EVENTS, cast("Any", fields), maxlen=KEPT, approximate=True)
        return Entry(cast("bytes", name).decode(), {}).end._replace(number=0)

    async def end(self) -> Place:
        """The place behind the newest entry."""
        with translated():
            newest = await self._client.xrevrange(keys.EVENTS, count=1)
        return _entries(newest)[0].end if newest else Place(0, 0, WHOLE)

    async def page(self, after: Place, until: str = "+") -> list[Entry]:
        """The next entries, the one of ``after`` too if it was not seen to its end; at most PAGE, and none behind ``until``."""
        first = f"({after.entry}" if after.number >= WHOLE else after.entry
        with translated():
            return _entries(await self._client.xrange(keys.EVENTS, first, until, PAGE))

    async def has(self, place: Place) -> bool:
        """Whether its entry is still kept."""
        with translated():
            return bool(await self._client.xrange(keys.EVENTS, place.entry, place.entry, 1))

    async def growth(self, after: Place) -> AsyncGenerator[list[Entry]]:
        """Endless: what comes after ``after`` (all of its entry), as soon as it does, none twice and none left out.

        The store may be away for any time.  Close it with ``aclosing``.
        """
        client = redis.Redis.from_url(self._url, **options(QUIET_S + TIMEOUT_S))
        failures, is_connected = 0, False
        try:
            while True:
                try:
                    with connected():
                        if failures or not is_connected:
                            await client.ping()
                            is_connected = True
                        raise_if_cancelled()
                        found = await client.xread({keys.EVENTS: after.entry}, PAGE, int(QUIET_S * 1000))
                except (RedisError, OSError):
                    raise_if_cancelled()
                    failures += 1
                    await asyncio.sleep(retry_pause_s(failures))
                    continue
                failures = 0
                if found:
                    entries = _entries(cast("Any", found)[0][1])
                    after = entries[-1].end
                    yield entries
        finally:
            await client.aclose()


def _entries(found: Any) -> list[Entry]:
    return [Entry(name.decode(), fields) for name, fields in found]
