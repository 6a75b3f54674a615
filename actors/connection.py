"""Shell: how every connection to the store is made, and what its errors mean."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from redis import exceptions
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from regrow.runtime.errors import StoreError, StoreUnavailable

TIMEOUT_S: Final = 5.0  # without an answer, after which a call is given up
QUIET_S: Final = 5.0  # of silence on a subscription, after which it has to answer a PING within as long
RECONNECT_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0)  # pauses between tries to subscribe again; the last one is repeated
TEMPORARY: Final = (
    exceptions.ReadOnlyError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
)  # a fail-over, seen from outside
TRY_LATER: Final = re.compile(r"\b(BUSY|LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS)\b")


def options(timeout_s: float | None) -> dict[str, Any]:
    """How every connection is made: no retries, no hidden health checks, and ``timeout_s`` for each answer."""
    return {
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "health_check_interval": 0,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": TIMEOUT_S,
        "client_name": "regrow",
    }


@contextmanager
def translated() -> Iterator[None]:
    """Redis errors as ours."""
    try:
        yield
    except RedisError as error:
        raise store_error(error) from error


def store_error(error: RedisError) -> StoreError:
    """StoreUnavailable where the same call can succeed later, StoreError where it cannot."""
    text = str(error)
    if isinstance(error, exceptions.OutOfMemoryError) or "OOM command not allowed" in text:
        return StoreUnavailable(
            "the store is at its memory limit (maxmemory): it takes nothing new until tasks end or expire"
        )
    if "MISCONF" in text:
        return StoreUnavailable(f"the store cannot write to its disk: {text}")
    if isinstance(error, exceptions.AuthenticationError | exceptions.AuthorizationError):
        return StoreError(f"the store refuses us: {text}; check user and password in the URL")
    if isinstance(error, ResponseError) and not isinstance(error, TEMPORARY) and not TRY_LATER.search(text):
        return StoreError(f"the store refused a command: {text}")
    return StoreUnavailable(f"the store does not answer: {text or type(error).__name__}")


def retry_pause_s(failures: int) -> float:
    """Seconds to wait before the next try to subscribe, after so many failures in a row."""
    return RECONNECT_S[min(failures, len(RECONNECT_S)) - 1]
