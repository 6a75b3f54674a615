"""Shell: tells a tree of the faults that are done to it, so that its record and the stories of its tasks have them.

A thread of its own, since the tree may well be what is harmed just now: nobody waits for it, and what cannot be told does not matter
to a run.  A fault is told again until it came in, and at most once: what may have come in is left at that.
"""

import queue
import threading
import time
from typing import Any, Final, Self

import urllib3

from regrow.chaos.evidence import Strike
from regrow.chaos.progress import Observer, Struck, Undone, Word

ANSWER_S: Final = 5.0  # a gateway that is killed is back within that; what connects meanwhile is heard by the next one
AGAIN_S: Final = 0.2
LAST_WORDS_S: Final = 2.0  # at the end, for what was not told yet
LONGEST_DETAIL: Final = 2000  # characters, as POST /v1/events/faults takes them
BUSY: Final = (429, 503)


class Herald:
    """For the length of a run.  ``also`` wraps an observer."""

    def __init__(self, gateway: str) -> None:
        """Its URL, past any proxy."""
        self._url = f"{gateway}/v1/events/faults"
        self._pool = urllib3.PoolManager(retries=False, timeout=ANSWER_S)
        self._news: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="herald", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._news.put(None)
        self._thread.join(LAST_WORDS_S)
        self._closed.set()
        self._thread.join(ANSWER_S)
        self._pool.clear()

    def also(self, observer: Observer) -> Observer:
        """That observer, and this."""

        def tell(word: Word) -> None:
            observer(word)
            self._hear(word)

        return tell

    def _hear(self, word: Word) -> None:
        match word:
            case Struck(strike):
                phase = "injected" if strike.applied_at is not None else "missed"
                self._news.put(_fault(strike, phase, strike.applied_at or time.monotonic()))
            case Undone(strike) if strike.applied_at is not None and strike.undone_at is not None:
                self._news.put(_fault(strike, "undone", strike.undone_at))
            case _:
                pass

    def _work(self) -> None:
        while (fault := self._news.get()) is not None:
            while not self._is_told(fault) and not self._closed.wait(AGAIN_S):
                pass
            if self._closed.is_set():
                return

    def _is_told(self, fault: dict[str, Any]) -> bool:
        """False: it did not come in, and can be told again."""
        try:
            return self._pool.request("POST", self._url, json=fault).status not in BUSY
        except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError):
            return False
        except urllib3.exceptions.HTTPError:
            return True


def _fault(strike: Strike, phase: str, at: float) -> dict[str, Any]:
    """The body of the request; ``at`` is monotonic seconds."""
    wall_at = time.time() - (time.monotonic() - at)
    detail = strike.detail[:LONGEST_DETAIL] if phase != "undone" else ""
    return {"fault": strike.fault, "target": _target(strike), "phase": phase, "at": wall_at, "detail": detail}


def _target(strike: Strike) -> str:
    """Who or what it is: a path of the tree, a link, or a word for what the fault is of: store, cpu, clock."""
    if strike.victim is not None:
        return strike.victim.path
    family, dot, _ = strike.fault.partition(".")
    return str(strike.options.get("link") or (family if dot else "nobody"))
