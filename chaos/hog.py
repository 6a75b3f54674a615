"""Shell: a program that takes more than its share: ``python -m regrow.chaos.hog cpu|memory AMOUNT NICE [CORE]``.

It waits for a byte on its standard input before it takes anything, and ends at once when that input ends: so it does not
outlive whoever has started it.  ``AMOUNT``: processes that spin, or bytes that are held.
"""

import os
import sys
import threading
from typing import Final

PAGE_BYTES: Final = 4096


def main() -> None:
    """Wait, take, and hold until the end."""
    what, amount, nice = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    os.nice(nice)
    if len(sys.argv) > 4:
        os.sched_setaffinity(0, {int(sys.argv[4])})
    if not os.read(0, 1):
        return
    parent = os.getpid()
    if what == "cpu":
        for _ in range(amount - 1):
            if not os.fork():
                spin(parent)
        threading.Thread(target=end_with_input, daemon=True).start()
        spin(os.getppid())
    held = bytearray(amount)
    for page in range(0, amount, PAGE_BYTES):
        held[page] = 1
    os.write(1, b".")
    end_with_input()


def end_with_input() -> None:
    """Nobody is there any more who wants this."""
    while os.read(0, 1):
        pass
    os._exit(0)


def spin(parent: int) -> None:
    """Until ``parent`` is this one's parent no more."""
    while os.getppid() == parent:
        for _ in range(10_000):
            pass
    os._exit(0)


if __name__ == "__main__":
    main()
