"""Waiting for something to become true, with a deadline and a message that tells what was seen last."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(probe: Callable[[], T], within: float, what: str, every: float = 0.01) -> T:
    """The first true value of ``probe``, asked again every ``every`` seconds; AssertionError after ``within`` seconds."""
    deadline = time.monotonic() + within
    while True:
        seen = probe()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {what}; last seen: {seen!r}")
        time.sleep(every)
