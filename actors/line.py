"""Shell: a worker's connection to its dispatcher: it is renewed when nothing comes any more, and what is lost on it is noticed.

What is said before the Welcome, and what it means, is the worker's affair; here words are counted (``talk``), encoded and decoded.
"""

from collections.abc import Callable, Iterator
from typing import Final

from regrow.actors import wire
from regrow.actors.talk import Talk
from regrow.actors.task import WorkerId
from regrow.runtime import events
from regrow.runtime.actor import Context
from regrow.runtime.errors import ProtocolError
from regrow.runtime.link import MAX_FRAME_BYTES, connect_dealer

FAREWELL_S: Final = 0.5  # how long the last words may take to leave


class Line:
    """To the dispatcher at ``endpoint``.  ``connected`` is called whenever it has become reachable, ``spoke`` when it has spoken."""

    def __init__(
        self,
        context: Context,
        endpoint: str,
        max_payload_bytes: int,
        connected: Callable[[], None],
        spoke: Callable[[], None],
    ) -> None:
        self._context = context
        self._endpoint = endpoint
        self._limit_bytes = max(MAX_FRAME_BYTES, max_payload_bytes * 3 // 2)
        self._on_connected = connected
        self._on_spoke = spoke
        self._tally = events.Tally()  # of damaged frames
        self._last_heard = context.now()
        self.talk = Talk()
        self.is_connected = False

    def open(self, worker: WorkerId) -> None:
        """Connect, under this id."""
        self._dealer = connect_dealer(self._endpoint, worker.encode(), self._limit_bytes)
        self.is_connected = False
        self._context.watch(self._dealer.connections, self._connected)
        self._context.watch(self._dealer, self._on_spoke)
        self.excuse()

    def renew(self, worker: WorkerId) -> None:
        """A new connection, which forgets what was queued for the former one's peer."""
        self._context.unwatch(self._dealer.connections)
        self._context.unwatch(self._dealer)
        self._dealer.close()
        self.open(worker)

    def close(self) -> None:
        """Let the last words leave."""
        self._dealer.close(FAREWELL_S)

    def say(self, message: wire.FromWorker) -> bool:
        """False when the queue is full: the next beat tries again."""
        self.talk.says(message)
        return self._dealer.send(wire.encode(message))

    def hear(self) -> Iterator[wire.ToWorker]:
        """What has come; a damaged frame is dropped."""
        for frame in self._dealer.receive():
            try:
                message = wire.decode_to_worker(frame)
            except ProtocolError as error:
                self._tally.note(events.Event.FRAME_DROPPED, problem=str(error), peer="dispatcher")
                continue
            self.excuse()
            yield message

    def excuse(self) -> None:
        """Its silence counts from now."""
        self._last_heard = self._context.now()

    def silent_s(self) -> float:
        """How long nothing has been heard."""
        return self._context.now() - self._last_heard

    def _connected(self) -> None:
        """At the first connection, and as soon as a dispatcher has come back: it may be a new one."""
        if self._dealer.connections.made():
            self.is_connected = True
            self._on_connected()
