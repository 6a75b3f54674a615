"""Core: the store's server as a process, and the lines over which it is called.

A call that is cut may have been carried out or not, or will be later: what a client gave up can still lie in the network, or in
front of a server that is stopped.  So every call may come late, and once more than its caller knows.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from regrow.chaos.simulation.chance import Chance
from regrow.chaos.simulation.clock import Callback, Clock
from regrow.chaos.simulation.pace import RECONNECT_S, STORE_TIMEOUT_S
from regrow.chaos.simulation.process import Process
from regrow.chaos.simulation.store import ModelStore
from regrow.runtime.spec import ExitReason

LATE_S: Final = 4.0  # how long something may lie in the network
SHAKY: Final = 0.5  # of the calls break
Operation = Callable[[ModelStore], object]
Answered = Callable[[object], None]


class Call:
    """One call, until it is answered, refused or given up."""

    __slots__ = ("answered", "failed", "is_applied", "is_over", "is_void", "operation")

    def __init__(self, operation: Operation, answered: Answered, failed: Callback) -> None:
        self.operation = operation
        self.answered = answered
        self.failed = failed
        self.is_over = False  # its caller has its answer, or asks no more
        self.is_void = False  # it will never be carried out
        self.is_applied = False


class Server(Process):
    """The store's server; what it has acknowledged outlives it (appendfsync always)."""

    def __init__(self, clock: Clock, name: str, data: ModelStore) -> None:
        super().__init__(clock, name)
        self.data = data
        self.is_up = False  # has read its files
        self.slow_s = 0.0
        self._waiting: list[Callback] = []

    def take(self, callback: Callback) -> None:
        """A call has come: carried out now, or when it goes on."""
        if self.is_frozen:
            self._waiting.append(callback)
        else:
            callback()

    def _thaw(self) -> None:
        super()._thaw()
        if not self.is_frozen:
            waiting, self._waiting = self._waiting, []
            for callback in waiting:
                callback()

    def on_end(self) -> None:
        self._waiting.clear()


class Line:
    """One client's connection to the store.  ``server`` tells which one runs now."""

    def __init__(
        self,
        owner: Process,
        server: Callable[[], Server | None],
        dice: Chance,
        base_s: float,
        saw: Callable[[str], None],
    ) -> None:
        self.is_cut = False
        self._saw = saw
        self._shaky_until = 0.0
        self._owner = owner
        self._clock = owner.clock
        self._server = server
        self._dice = dice
        self._base_s = base_s
        self._calls: dict[Call, None] = {}
        self._held: list[Callback] = []
        self._mourned: Server | None = None

    def call(self, operation: Operation, answered: Answered, failed: Callback) -> None:
        """Have this carried out.  Either is called in the owner, once, unless it dies."""
        call = Call(operation, answered, failed)
        self._calls[call] = None
        server = self._server()
        if server is None or not server.is_up:
            self._clock.after(self._base_s, partial(self._fail, call))
            call.is_void = True
            return
        if server is not self._mourned:
            self._mourned = server
            server.mourners.append(self._server_ended)
        self._clock.after(self._trip_s(server), partial(self._arrive, call))
        self._owner.after(STORE_TIMEOUT_S, partial(self._give_up, call))
        if self._clock.now < self._shaky_until and self._dice.random() < SHAKY:
            self._clock.after(2 * self._trip_s(server) * self._dice.random(), partial(self._break, call))

    def cut(self, for_s: float) -> None:
        """Nothing passes for so long; what is on its way is kept back."""
        self.is_cut = True
        self._clock.after(for_s, self._heal)

    def shake(self, for_s: float) -> None:
        """For so long, connections break in the middle of calls."""
        self._shaky_until = self._clock.now + for_s

    def _break(self, call: Call) -> None:
        """The connection is gone: what was called is carried out or not, or comes later."""
        if call.is_over:
            return
        if not call.is_applied:
            call.is_void = True
            if self._dice.random() < 0.5:
                self._clock.after(self._dice.random() * LATE_S, partial(self._haunt, call))
        self._fail(call)

    def _trip_s(self, server: Server) -> float:
        return (self._base_s + server.slow_s) * (0.5 + self._dice.random())

    def _arrive(self, call: Call) -> None:
        if self.is_cut:
            self._held.append(partial(self._arrive, call))
            return
        server = self._server()
        if server is not None and server.is_up:
            server.take(partial(self._carry_out, call, server))

    def _carry_out(self, call: Call, server: Server) -> None:
        if call.is_void or not server.is_alive:
            return
        call.is_applied = True
        server.data.now_ms = int(self._clock.now * 1000)
        answer = call.operation(server.data)
        if call.is_over:
            self._saw("call carried out late" if self._owner.is_alive else "call of the dead carried out")
        else:
            self._clock.after(self._trip_s(server), partial(self._return, call, answer))

    def _haunt(self, call: Call) -> None:
        """What was given up arrives all the same."""
        call.is_void = False
        self._arrive(call)

    def _return(self, call: Call, answer: object) -> None:
        if self.is_cut:
            self._held.append(partial(self._return, call, answer))
        elif not call.is_over:
            self._owner.hear(partial(self._tell, call, answer))

    def _tell(self, call: Call, answer: object) -> None:
        if not call.is_over:
            self._close(call)
            call.answered(answer)

    def _give_up(self, call: Call) -> None:
        if not call.is_over:
            self._close(call)
            call.failed()

    def _fail(self, call: Call) -> None:
        self._owner.hear(partial(self._give_up, call))

    def _close(self, call: Call) -> None:
        call.is_over = True
        self._calls.pop(call, None)

    def _server_ended(self, _: ExitReason) -> None:
        for call in list(self._calls):
            call.is_void = True
            self._clock.after(self._base_s, partial(self._fail, call))

    def _heal(self) -> None:
        """What was given up while it was cut may come before or after what is called next."""
        self.is_cut = False
        held, self._held = self._held, []
        for callback in held:
            self._clock.after(self._dice.random() * RECONNECT_S, callback)
