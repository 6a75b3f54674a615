"""Shell: one thread that waits for sockets, descriptors, timers and signals, and calls back.

A round reads everything that is readable before it runs the timers that are due, so that a process that was late
hears what was said before it judges. It never sleeps and never polls: it waits until something is readable or the
next timer is due, and looks at the clock every ``LOOK_S`` meanwhile to know whether it was suspended.
"""

import heapq
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Final

from regrow.runtime.link import Poller, Readable, _Socket

TIMERS: Final = 256  # kept before cancelled ones are looked for
GAP_S: Final = 1.0  # a round that comes later than this was preceded by a suspension
LOOK_S: Final = 1.0  # no wait is longer: a suspension that ends just when a far timer is due would go unseen
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

Callback = Callable[[], None]


class Timer:
    """A callback at a time."""

    __slots__ = ("at", "callback")

    def __init__(self, at: float, callback: Callback) -> None:
        self.at = at
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        """It will not be called.  May be called twice, also after it ran."""
        self.callback = None


class Loop:
    """The rounds of one process. ``on_gap`` is told, before anything else, that the process was suspended."""

    def __init__(self, on_gap: Callable[[float], None]) -> None:
        self._poller = Poller()
        self._callbacks: dict[object, Callback] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._swept_at = TIMERS
        self._sequence = count()
        self._on_gap = on_gap
        self._last_round = self.now()
        self._to_close: list[int] = []
        self._is_closed = False

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def watch(self, readable: Readable, callback: Callback) -> None:
        """Call back in each round in which it is readable."""
        self._callbacks[_key(readable)] = callback
        self._poller.add(readable)

    def unwatch(self, readable: Readable) -> None:
        """Call back no more; before it is closed."""
        del self._callbacks[_key(readable)]
        self._poller.remove(readable)

    def after(self, delay_s: float, callback: Callback) -> Timer:
        """Call back once, ``delay_s`` seconds from now."""
        timer = Timer(self.now() + delay_s, callback)
        heapq.heappush(self._timers, (timer.at, next(self._sequence), timer))
        if len(self._timers) > self._swept_at:
            self._sweep()
        return timer

    def _sweep(self) -> None:
        """Forget cancelled timers, which would be kept until their times."""
        self._timers = [entry for entry in self._timers if entry[2].callback is not None]
        heapq.heapify(self._timers)
        self._swept_at = max(TIMERS, 2 * len(self._timers))

    def waker(self, callback: Callback) -> Callback:
        """A function that any thread may call to have ``callback`` called by this loop; many calls may become one."""
        descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._to_close.append(descriptor)

        def woken() -> None:
            with suppress(BlockingIOError):
                os.eventfd_read(descriptor)
            callback()

        def wake() -> None:
            if not self._is_closed:
                os.eventfd_write(descriptor, 1)

        self.watch(descriptor, woken)
        return wake

    def turn(self, *, may_wait: bool = True) -> None:
        """One round: wait (unless told not to), read everything readable, then run the due timers."""
        wait_s = self._wait_s() if may_wait else 0.0
        ready = self._poller.wait(wait_s)
        now = self.now()
        late_s = now - self._last_round - (wait_s if wait_s is not None else now)
        self._last_round = now
        if late_s > GAP_S:
            self._on_gap(late_s)
        for readable in ready:
            callback = self._callbacks.get(readable)
            if callback is not None:
                callback()
        self._run_due()

    def _wait_s(self) -> float | None:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return min(max(0.0, self._timers[0][0] - self.now()), LOOK_S) if self._timers else None

    def _run_due(self) -> None:
        now = self.now()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            callback, timer.callback = timer.callback, None
            if callback is not None:
                callback()

    def close(self) -> None:
        """Release what the loop itself holds; not what it watches."""
        self._is_closed = True
        self._poller.close()
        for descriptor in self._to_close:
            os.close(descriptor)


def _key(readable: Readable) -> object:
    """What the poller will name it by."""
    if isinstance(readable, int | _Socket):
        return readable
    return readable.fileno()


@contextmanager
def signals_of(loop: Loop, numbers: Iterable[int], callback: Callable[[int], None]) -> Iterator[None]:
    """Have the loop call back for each of these signals, instead of what they did before; main thread only."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def arrived() -> None:
        for number in os.read(reader, 4096):
            callback(number)

    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    wakeup_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    loop.watch(reader, arrived)
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup_before)
        for number, was in before.items():
            signal.signal(number, was)
        loop.unwatch(reader)
        os.close(reader)
        os.close(writer)


def hold_stop_signals() -> None:
    """From here on SIGTERM and SIGINT wait for good: a process that is ending anyway is not to end by a signal instead.

    That is, this thread takes none; another one could, so this covers only the time until they can be ignored.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def ignore_stop_signals() -> None:
    """From here on SIGTERM and SIGINT are nothing to any thread, once no loop has handlers left to put back."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
