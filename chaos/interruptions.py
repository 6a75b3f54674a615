"""Shell: Ctrl-C, SIGTERM and the end of the terminal (SIGHUP), for whoever has something to tidy up before they may end it."""

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any, Final, Self, TypeVar

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
T = TypeVar("T")


class Interruptions:
    """For the time of a block the first of them raises KeyboardInterrupt, and is remembered.

    Those that follow are nothing: they would break off what undoes everything on the way out. What is raised while Python
    forks a process is swallowed by its hooks: ``check`` raises it again.  ``is_last``: after the block, too, they are nothing;
    only the end of the process comes then, with an exit code that is not to be lost.
    A SIGHUP that is ignored, as under nohup(1), stays so.
    """

    def __init__(self, *, is_last: bool = False) -> None:
        self._has_come = False
        self._is_last = is_last
        self._instead: Callable[[str], object] | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in SIGNALS:
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._come)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_IGN if self._is_last else before)

    def check(self) -> None:
        """Raises KeyboardInterrupt if there was one."""
        if self._has_come:
            raise KeyboardInterrupt

    @contextmanager
    def told(self, tell: Callable[[str], object]) -> Iterator[None]:
        """In this block none is raised: ``tell`` is called with the name of each."""
        self._instead = tell
        try:
            yield
        finally:
            self._instead = None

    @contextmanager
    def tidied(self, block: AbstractContextManager[T]) -> Iterator[T]:
        """That block, whose own end none of them breaks off; one that comes then is remembered only."""
        try:
            with block as value:
                try:
                    yield value
                finally:
                    self._instead = self._remember
        finally:
            self._instead = None

    def _come(self, number: int, _frame: FrameType | None) -> None:
        if self._instead is not None:
            self._instead(signal.Signals(number).name)
        elif not self._has_come:
            self._has_come = True
            raise KeyboardInterrupt

    def _remember(self, _name: str) -> None:
        self._has_come = True
