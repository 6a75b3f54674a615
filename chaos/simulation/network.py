"""Core: what lies between a worker and its dispatcher: a path that can be bad, and the ZeroMQ connections that use it.

A connection behaves as TCP does: in order, nothing lost while it lasts, everything on its way lost when it breaks.  A cut
keeps messages back, and lets them through when it heals, unless it lasts until ZeroMQ's own heartbeat breaks the connection.
A path can also damage messages, which their reader drops; and, as no TCP does, double and reorder them.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial
from typing import Final, Protocol

from regrow.actors.task import WorkerId
from regrow.actors.wire import FromWorker, ToWorker
from regrow.chaos.simulation.chance import Chance
from regrow.chaos.simulation.clock import Clock
from regrow.chaos.simulation.pace import RECONNECT_S, SILENT_PEER_S
from regrow.chaos.simulation.process import Process

HANDSHAKE_TRIPS: Final = 3


class Way(IntEnum):
    """A direction."""

    OUT = 0  # from the worker
    BACK = 1  # to it


class Hears(Protocol):
    """The end that listens."""

    @property
    def process(self) -> Process:
        """Its own."""
        ...

    def arrive(self, worker: WorkerId, message: FromWorker) -> None:
        """A worker's message is here."""
        ...

    def attach(self, worker: WorkerId, connection: "Connection") -> None:
        """A worker has connected."""
        ...

    def detach(self, worker: WorkerId, connection: "Connection") -> None:
        """Its connection is gone."""
        ...


@dataclass(slots=True, eq=False)
class Path:
    """The network between one place and the dispatcher, whichever processes are at its ends."""

    clock: Clock
    dice: Chance
    base_s: float
    delay_s: float = 0.0
    damage: float = 0.0  # probability per message
    double: float = 0.0
    overtake: float = 0.0
    cuts: list[int] = field(default_factory=lambda: [0, 0])  # by way: how many cuts are in force
    users: "list[Connection]" = field(default_factory=list)
    damaged: int = 0
    doubled: int = 0

    def latency_s(self) -> float:
        """Of one message."""
        return self.base_s * (0.5 + self.dice.random()) + self.delay_s * (0.5 + self.dice.random())

    @property
    def is_cut(self) -> bool:
        """In any direction."""
        return bool(self.cuts[0] or self.cuts[1])

    def cut(self, ways: tuple[Way, ...], for_s: float) -> None:
        """Nothing passes in these directions for so long."""
        for way in ways:
            self.cuts[way] += 1
        for user in list(self.users):
            self.clock.after(SILENT_PEER_S, partial(self._tell_silent, user))
        self.clock.after(for_s, partial(self._heal, ways))

    def reset(self) -> None:
        """Every connection breaks."""
        for user in list(self.users):
            user.break_off()

    def _tell_silent(self, user: "Connection") -> None:
        if self.is_cut:
            user.break_off()

    def _heal(self, ways: tuple[Way, ...]) -> None:
        for way in ways:
            self.cuts[way] -= 1
            if not self.cuts[way]:
                for user in list(self.users):
                    user.release(way)


class Connection:
    """One TCP connection of a worker to a dispatcher."""

    def __init__(self, path: Path, worker: WorkerId, dealer: "Dealer", router: Hears) -> None:
        self.path = path
        self.worker = worker
        self.is_broken = False
        self._dealer = dealer
        self._router = router
        self._held: tuple[deque[FromWorker | ToWorker], ...] = (deque(), deque())
        self._last_due = [0.0, 0.0]
        self._sent = [0, 0]
        self._most = [1 << 60, 1 << 60]  # messages that still arrive, by way, after an end has died
        path.users.append(self)

    def send(self, way: Way, message: FromWorker | ToWorker) -> None:
        """Put it on its way."""
        path = self.path
        if path.cuts[way]:
            self._held[way].append(message)
            return
        clock = path.clock
        due = clock.now + path.latency_s()
        if path.overtake and path.dice.random() < path.overtake:
            due += 4 * path.base_s + path.delay_s
        elif due <= self._last_due[way]:
            due = self._last_due[way]
        else:
            self._last_due[way] = due
        self._sent[way] += 1
        clock.at(due, partial(self._arrive, way, self._sent[way], message))
        if path.double and path.dice.random() < path.double:
            path.doubled += 1
            clock.at(due + path.latency_s(), partial(self._arrive, way, self._sent[way], message))

    def release(self, way: Way) -> None:
        """The cut is healed."""
        held = self._held[way]
        while held and not self.path.cuts[way] and not self.is_broken:
            self.send(way, held.popleft())

    def lose_end(self, way: Way) -> None:
        """The sender of this way has died: what the kernel had still arrives, the rest is lost; the other way has no reader."""
        self._most[way] = self._sent[way] - self.path.dice.randrange(3)
        self._held[way].clear()
        self.path.clock.after(self.path.latency_s() * 2, self.break_off)

    def break_off(self) -> None:
        """Both ends learn that it is gone."""
        if self.is_broken:
            return
        self.is_broken = True
        self.path.users.remove(self)
        self._router.detach(self.worker, self)
        self._dealer.lost(self)

    def _arrive(self, way: Way, number: int, message: FromWorker | ToWorker) -> None:
        path = self.path
        if self.is_broken or number > self._most[way]:
            return
        if path.cuts[way]:
            self._held[way].append(message)
        elif path.damage and path.dice.random() < path.damage:
            path.damaged += 1
        elif way is Way.OUT:
            self._router.arrive(self.worker, message)  # type: ignore[arg-type]  # what goes this way
        else:
            self._dealer.arrive(message)  # type: ignore[arg-type]


class Dealer:
    """A worker's end: connects, and connects again; what is said meanwhile waits."""

    def __init__(
        self,
        path: Path,
        worker: WorkerId,
        process: Process,
        door: Callable[[], Hears | None],
        connected: Callable[[], None],
        heard: Callable[[ToWorker], None],
    ) -> None:
        self._path = path
        self._worker = worker
        self._process = process
        self._door = door
        self._connected = connected
        self._heard = heard
        self._unsent: deque[FromWorker] = deque()
        self._connection: Connection | None = None
        self._is_closed = False
        self._try_after(0.0)

    def send(self, message: FromWorker) -> None:
        """Say this, now or when there is a connection."""
        if self._connection is None:
            self._unsent.append(message)
        else:
            self._connection.send(Way.OUT, message)

    def close(self, *, is_orderly: bool = True) -> None:
        """What is on its way still arrives; of one that was killed, perhaps not all."""
        self._is_closed = True
        self._unsent.clear()
        connection, self._connection = self._connection, None
        if connection is not None and is_orderly:
            self._path.clock.after(4 * self._path.latency_s(), connection.break_off)
        elif connection is not None:
            connection.lose_end(Way.OUT)

    def lost(self, connection: Connection) -> None:
        """The connection is gone."""
        if connection is self._connection:
            self._connection = None
            self._try_after(RECONNECT_S)

    def arrive(self, message: ToWorker) -> None:
        """Something is here."""
        if not self._is_closed:
            self._process.hear(partial(self._hear, message))

    def _hear(self, message: ToWorker) -> None:
        if not self._is_closed:
            self._heard(message)

    def _try_after(self, delay_s: float) -> None:
        path = self._path
        path.clock.after(delay_s + HANDSHAKE_TRIPS * path.latency_s(), self._try)

    def _try(self) -> None:
        """ZeroMQ's own thread does this; a process that is stopped shakes no hands."""
        if self._is_closed or not self._process.is_alive or self._connection is not None:
            return
        router = self._door()
        if router is None or self._path.is_cut or router.process.is_frozen or self._process.is_frozen:
            self._try_after(RECONNECT_S)
            return
        self._connection = Connection(self._path, self._worker, self, router)
        router.attach(self._worker, self._connection)
        while self._unsent:
            self._connection.send(Way.OUT, self._unsent.popleft())
        self._process.hear(self._tell_connected)

    def _tell_connected(self) -> None:
        if not self._is_closed:
            self._connected()
