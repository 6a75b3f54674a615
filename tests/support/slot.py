"""One slot process, held as a worker holds it, for tests."""

import hashlib
import select
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from regrow.actors.effects import Death
from regrow.actors.limits import Limits
from regrow.actors.packets import Call, Ended, Ready
from regrow.actors.slot_process import SlotProcess
from regrow.actors.task import Digest
from support.functions import by_value, call

MAX_BYTES = 4 * 1024 * 1024


def digest_of(code: bytes) -> Digest:
    return Digest(hashlib.sha256(code).hexdigest())


class HeldSlot:
    """Feeds one call at a time, or many, and waits for what comes."""

    def __init__(self, folder: Path, import_path: tuple[str, ...] = (), max_bytes: int = MAX_BYTES) -> None:
        self.process = SlotProcess(folder, "regrow: test/slot", max_bytes, import_path)
        self._turn = 0

    def start(self) -> None:
        """Wait until it is ready."""
        assert self.answers(1) == [(0, Ready())]

    def feed(self, function: Callable[..., Any] | bytes, *args: Any, **kwargs: Any) -> int:
        """Send a call with its function; the turn's number."""
        return self.feed_packet(function, call(*args, **kwargs))

    def feed_packet(
        self,
        function: Callable[..., Any] | bytes,
        params: bytes,
        limits: Limits | None = None,
        checksum: int | None = None,
    ) -> int:
        code = function if isinstance(function, bytes) else by_value(function)
        self._turn += 1
        self.process.feed(self._turn, Call(digest_of(code), params, code, limits, checksum))
        return self._turn

    def run(self, function: Callable[..., Any] | bytes, *args: Any, **kwargs: Any) -> Ended:
        """Send a call and wait for its answer."""
        return self.run_packet(function, call(*args, **kwargs))

    def run_within(self, limits: Limits, function: Callable[..., Any] | bytes, *args: Any) -> Ended:
        """Send a call that has limits and wait for its answer."""
        return self.run_packet(function, call(*args), limits)

    def run_packet(
        self,
        function: Callable[..., Any] | bytes,
        params: bytes,
        limits: Limits | None = None,
        checksum: int | None = None,
    ) -> Ended:
        turn = self.feed_packet(function, params, limits, checksum)
        [(number, ended)] = self.answers(1)
        assert number == turn
        assert isinstance(ended, Ended)
        return ended

    def answers(self, count: int, within: float = 20.0) -> list[tuple[int, Any]]:
        """The next ``count`` answers."""
        found: list[tuple[int, Any]] = []
        deadline = time.monotonic() + within
        while len(found) < count:
            ready, _, _ = select.select([self.process.end, self.process.pidfd], [], [], deadline - time.monotonic())
            assert ready, f"{len(found)} of {count} answers within {within} s"
            found += self.process.answers(0.0)
            assert self.process.end in ready or found, f"the slot ended: {self.lines()}"
        return found

    def lines(self) -> list[str]:
        """What it has printed."""
        self.process.note_output()
        return self.process.lines(0.0)

    def death(self, within: float = 20.0) -> Death:
        """Wait for its end."""
        ready, _, _ = select.select([self.process.pidfd], [], [], within)
        assert ready, f"the slot did not end within {within} s"
        return self.process.bury()
