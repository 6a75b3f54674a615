"""Core: a process on paper: it lives, is frozen, goes on late, and dies, with those who share its fate.

A round of a real process first hears that it was suspended, then reads what has come, then runs the timers that are due
(``runtime/loop.py``); so does this one when it goes on.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from regrow.chaos.simulation.clock import Callback, Clock
from regrow.chaos.simulation.pace import GAP_S
from regrow.runtime.spec import ExitReason, ReasonKind

KILLED: Final = ExitReason(ReasonKind.SIGNAL, "SIGKILL")


class Process:
    """One process.  Whoever owns it asks ``is_alive``; whoever waits for its end is in ``mourners``."""

    def __init__(self, clock: Clock, name: str) -> None:
        self.clock = clock
        self.name = name
        self.is_alive = True
        self.is_frozen = False
        self.frozen_at = 0.0
        self.below: list[Process] = []  # die with it, as the kernel promises
        self.mourners: list[Callable[[ExitReason], None]] = []
        self._frozen_until = 0.0
        self._late_mail: list[Callback] = []
        self._late_timers: list[tuple[float, Callback]] = []
        self._turns: deque[Callback] = deque()

    def on_gap(self, gap_s: float) -> None:
        """It was suspended for about so long."""

    def on_end(self) -> None:
        """It has ended; what it held is released by the kernel."""

    def run(self, callback: Callback) -> None:
        """One thing that happens in it."""
        callback()

    def after(self, delay_s: float, callback: Callback) -> None:
        """A timer of its loop."""
        due = self.clock.now + delay_s
        self.clock.at(due, partial(self._timer, due, callback))

    def hear(self, callback: Callback) -> None:
        """Something has come for it."""
        if self.is_frozen:
            self._late_mail.append(callback)
        elif self.is_alive:
            self._in_turn(callback)

    def freeze(self, for_s: float) -> None:
        """SIGSTOP, and SIGCONT so much later."""
        if not self.is_alive:
            return
        until = self.clock.now + for_s
        if not self.is_frozen:
            self.is_frozen, self.frozen_at = True, self.clock.now
        self._frozen_until = max(self._frozen_until, until)
        self.clock.at(until, self._thaw)

    def end(self, reason: ExitReason) -> None:
        """It ends, for this reason, and all below it with it."""
        if not self.is_alive:
            return
        self.is_alive = self.is_frozen = False
        self._late_mail, self._late_timers = [], []
        self.on_end()
        for process in self.below:
            process.end(KILLED)
        for mourner in self.mourners:
            mourner(reason)

    def _timer(self, due: float, callback: Callback) -> None:
        if self.is_frozen:
            self._late_timers.append((due, callback))
        elif self.is_alive:
            self._in_turn(callback)

    def _in_turn(self, callback: Callback) -> None:
        """What comes while it is at something waits until that is done: nothing interrupts a round."""
        self._turns.append(callback)
        if len(self._turns) > 1:
            return
        while self._turns:
            if self.is_alive:
                self.run(self._turns[0])
            self._turns.popleft()

    def _thaw(self) -> None:
        if not self.is_frozen or self.clock.now < self._frozen_until:
            return
        self.is_frozen = False
        mail, self._late_mail = self._late_mail, []
        timers, self._late_timers = self._late_timers, []
        if timers and self.clock.now - timers[0][0] > GAP_S:
            self._in_turn(partial(self.on_gap, self.clock.now - timers[0][0]))
        for callback in (*mail, *(callback for _, callback in timers)):
            self._in_turn(callback)
