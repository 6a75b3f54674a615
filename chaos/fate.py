"""Shell: all processes of a tree, held fast before its root is killed, so that their ends can be seen and timed."""

import os
import select
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from regrow.chaos.nemesis import NotRecovered


class Fate:
    """The process ``root`` and all below it, each held by a pidfd."""

    def __init__(self, root: int) -> None:
        self._stack = ExitStack()
        self._pids: dict[int, int] = {}  # by pidfd
        for pid in (root, *descendants(root)):
            try:
                pidfd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            self._stack.callback(os.close, pidfd)
            self._pids[pidfd] = pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __len__(self) -> int:
        """How many processes."""
        return len(self._pids)

    def shared_s(self, since: float, within_s: float) -> float:
        """Seconds from ``since`` (monotonic) until all of them have ended.  Raises NotRecovered that names who has not."""
        waiting = dict(self._pids)
        poll = select.poll()
        for pidfd in waiting:
            poll.register(pidfd, select.POLLIN)
        while waiting:
            ended = poll.poll(1000 * max(0.0, since + within_s - time.monotonic()))
            if not ended:
                left = ", ".join(map(str, sorted(waiting.values())))
                raise NotRecovered(f"still alive {within_s:g} s after the root was killed: {left}")
            for pidfd, _ in ended:
                poll.unregister(pidfd)
                del waiting[pidfd]
        return time.monotonic() - since


def descendants(pid: int) -> Iterator[int]:
    """All processes below that one, parents first; one that ends meanwhile has none."""
    try:
        lists = [task.joinpath("children").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return
    for child in (int(word) for words in lists for word in words.split()):
        yield child
        yield from descendants(child)
