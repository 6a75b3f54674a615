"""Shell: the wall clock: Unix seconds, for records and logs only.  Intervals are measured with ``time.monotonic``."""

import time
from collections.abc import Callable
from typing import Final

from regrow.runtime import hooks


def _wrong() -> float:
    return time.time() + hooks.offset_s()


wall: Final[Callable[[], float]] = time.time if hooks.directory() is None else _wrong
