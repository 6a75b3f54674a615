"""Shell: hints from the store that there is something to do, on a connection of their own."""

import os
import select
import threading
from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum
from typing import Final

import redis
from redis.client import PubSub
from redis.exceptions import RedisError

from regrow.actors import keys
from regrow.actors.connection import QUIET_S, TIMEOUT_S, options, retry_pause_s


class Hint(StrEnum):
    """What a dispatcher may want to look at."""

    WORK = "work"  # something was queued
    DUE = "due"  # something waits for its time
    DROPS = "drops"  # something that ran was cancelled


HINTS: Final = {hint.value.encode(): hint for hint in (Hint.DUE, Hint.DROPS)}


class Wakes:
    """An endless iterator for a thread of its own: the hints that have come, and all of them after each (re)connect, for
    what was missed.

    Iterate once. ``close`` may be called from any thread and ends the iteration at once.
    """

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url, **options(TIMEOUT_S))
        self._lock = threading.Lock()  # held round the life and use of the eventfd
        self._closing = threading.Event()
        self._closed = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def __iter__(self) -> Iterator[set[Hint]]:
        failures = 0
        try:
            while not self._closing.is_set():
                with suppress(RedisError, OSError):
                    for hints in self._hints():
                        failures = 0
                        yield hints
                failures += 1
                self._closing.wait(retry_pause_s(failures))
        finally:
            self._client.close()
            with self._lock:
                self._closing.set()
                os.close(self._closed)

    def close(self) -> None:
        """End the iteration."""
        with self._lock:
            if not self._closing.is_set():
                self._closing.set()
                os.eventfd_write(self._closed, 1)

    def _hints(self) -> Iterator[set[Hint]]:
        """Of one connection, until it fails or falls silent (RedisError), or until we are closed."""
        with PubSub(self._client.connection_pool) as subscription:
            subscription.subscribe(keys.WAKE)
            while self._waited(subscription):
                if hints := heard(subscription):
                    yield hints

    def _waited(self, subscription: PubSub) -> bool:
        """True: there is something to read.  False: we are closed.  Silence is broken by a PING, which has to be answered."""
        assert subscription.connection is not None
        poller = select.poll()
        poller.register(subscription.connection._sock, select.POLLIN)  # noqa: SLF001  it has no public name
        poller.register(self._closed, select.POLLIN)
        for is_last in (False, True):
            ready = poller.poll(QUIET_S * 1000)
            if ready:
                return all(descriptor != self._closed for descriptor, _ in ready)
            if not is_last:
                subscription.ping()
        raise redis.TimeoutError("a subscription does not answer")


def heard(subscription: PubSub) -> set[Hint]:
    """What has arrived; a subscription that has begun (anew) may have missed anything."""
    hints: set[Hint] = set()
    while (message := subscription.get_message(timeout=0)) is not None:
        if message["type"] == "subscribe":
            hints |= set(Hint)
        elif message["type"] == "message":
            hints.add(HINTS.get(message["data"], Hint.WORK))
    return hints
