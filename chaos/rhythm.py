"""Shell: two acts in turn, each followed by its time, on a thread beside everything else."""

import threading
from collections.abc import Callable
from contextlib import suppress

from regrow.chaos.lineage import NoVictim


class Rhythm:
    """``start`` does the first act at once; ``close`` has none of them done any more when it returns."""

    def __init__(self, first: Callable[[], None], first_s: float, then: Callable[[], None], then_s: float) -> None:
        self._turns = ((first, first_s), (then, then_s))
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chaos-rhythm", daemon=True)

    def start(self) -> None:
        """Raises what the first act raises; later ones end it silently when whom they are about has ended."""
        first, _ = self._turns[0]
        first()
        self._thread.start()

    def close(self) -> None:
        """May be called before ``start``."""
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        with suppress(NoVictim):
            self._is_over.wait(self._turns[0][1])
            turn = 1
            while not self._is_over.is_set():
                act, for_s = self._turns[turn % 2]
                act()
                self._is_over.wait(for_s)
                turn += 1
