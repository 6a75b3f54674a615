"""Shell: a proxy on this machine between two parts, which does faults to the connections that pass through it.

::

    with Proxy("tcp://127.0.0.1:5555") as proxy:           # workers are told proxy.address
        with proxy.fault(Cut(), Way.BACK):                 # they are heard, and hear nothing
            ...

    connects ──▶ proxy.address ──OUT──▶ target             each direction of each connection is a line: read, wait until due,
             ◀──────BACK──────                             write.  A fault changes how all lines of a direction move.

It is honest about what TCP promises: no byte is lost, doubled or overtaken while a connection lasts.  A cut keeps bytes
back, stops reading at a bound, and lets everything through when it is healed, as retransmission would.  So a fault
never corrupts a stream, and every fault can be undone.  Where it is told that the parts speak ZeroMQ (``is_zmtp``), it can do
faults to whole messages too (``FrameFault``): those are what a careless transport, or a peer with a bug, would do.

It runs an event loop in a thread of its own. A call has taken effect when it returns, and may come from any thread.
"""

import asyncio
import random
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, Self, get_args

from regrow.chaos.link_fault import FrameFault, LinkFault, Reset, Way
from regrow.chaos.road import Line, Road
from regrow.chaos.sockets import address, close_listener, has_hung_up, listening, peer_pid, reset, socket_for
from regrow.runtime.errors import ConfigError

WAYS: Final = (Way.OUT, Way.BACK)
HALVES: Final = (0, 1)
FRAME_KINDS: Final[tuple[type[FrameFault], ...]] = get_args(FrameFault)


class Proxy:
    """Passes connections to ``listen`` on to ``target``, both ``tcp://HOST:PORT`` or ``unix://PATH`` (or ``ipc://PATH``).

    Port 0 picks a free one: see ``address``.  ``seed`` is for jitter: the same seed delays the chunks of the n-th
    connection by the same amounts, and does the same to its n-th message.  A ``target`` that is a function is asked for each
    connection: of a part that is not there yet.
    """

    def __init__(
        self,
        target: str | Callable[[], str],
        listen: str = "tcp://127.0.0.1:0",
        seed: int = 0,
        *,
        is_zmtp: bool = False,
    ) -> None:
        """Listens at once.  Raises ConfigError for an address that is none, or not of this machine, and OSError."""
        self._target = target
        if isinstance(target, str):
            address(target)
        self._is_zmtp = is_zmtp
        self._listener = listening(address(listen))
        self._seed = seed
        self._roads = {(way, half): Road() for way in WAYS for half in HALVES}
        self._peers: dict[int, int] = {}  # who has connected, in order
        self._accepted = 0
        self._lives: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="chaos-proxy", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        """Where it listens, for those who are to connect through it."""
        name = self._listener.getsockname()
        return f"unix://{name}" if isinstance(name, str) else f"tcp://{name[0]}:{name[1]}"

    @property
    def port(self) -> int:
        """Of ``address``, where that is a TCP address."""
        return int(self._listener.getsockname()[1])

    @property
    def accepted(self) -> int:
        """Connections so far."""
        return self._accepted

    def passed_bytes(self, way: Way) -> int:
        """How much it has handed over in these directions."""
        return sum(road.passed_bytes for (at, _), road in self._roads.items() if at in way)

    def mishaps(self, kind: type[FrameFault], way: Way = Way.BOTH) -> int:
        """To how many messages this has been done."""
        return sum(road.mishaps[kind] for (at, _), road in self._roads.items() if at in way)

    def apply(self, fault: LinkFault, way: Way = Way.BOTH, *, to_half: bool = False) -> None:
        """Do this from now on.  Of several of one kind the last one counts, until it is healed: then the one before it.

        ``to_half``: only to every second one of those who connect, and not to the others; on a unix socket a process stays
        what it is when it connects again.  A Reset knows no halves.  Raises ConfigError for a fault to messages where none are known.
        """
        if isinstance(fault, FRAME_KINDS) and not self._is_zmtp:
            raise ConfigError(f"{type(fault).__name__} is done to messages, and only where both sides speak ZeroMQ")
        self._do(self._apply(fault, way, HALVES[:1] if to_half else HALVES))

    def heal(self, *kinds: type[LinkFault]) -> None:
        """Undo the faults of these kinds, or all."""
        self._do(self._heal(lambda fault: not kinds or isinstance(fault, kinds)))

    def heal_one(self, one: LinkFault) -> None:
        """Undo this very one, which was applied; others of its kind go on.  May be done twice."""
        self._do(self._heal(lambda fault: fault is one))

    @contextmanager
    def fault(self, fault: LinkFault, way: Way = Way.BOTH, *, to_half: bool = False) -> Iterator[None]:
        """Do this for the length of a block, whatever happens in it."""
        self.apply(fault, way, to_half=to_half)
        try:
            yield
        finally:
            self.heal_one(fault)

    def close(self) -> None:
        """Reset what is connected, and end.  May be called twice."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    # On the loop's thread.

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        accepting = self._loop.create_task(self._accept())
        try:
            self._loop.run_forever()
        finally:
            accepting.cancel()
            self._loop.run_until_complete(asyncio.gather(accepting, return_exceptions=True))
            self._loop.run_until_complete(self._stop())
            close_listener(self._listener)
            self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        if not self._thread.is_alive():  # closed: nothing passes it, and nothing is to be undone
            work.close()
            return
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _apply(self, fault: LinkFault, way: Way, halves: tuple[int, ...]) -> None:
        for (at, half), road in self._roads.items():
            if isinstance(fault, Reset) or (at in way and half in halves):
                road.put(fault)
        if isinstance(fault, Reset):
            await self._stop()

    async def _heal(self, is_over: Callable[[LinkFault], bool]) -> None:
        for road in self._roads.values():
            road.clear(is_over)

    async def _stop(self) -> None:
        for life in self._lives:
            life.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)

    async def _accept(self) -> None:
        while True:
            client, _ = await self._loop.sock_accept(self._listener)
            self._accepted += 1
            client.setblocking(False)
            if self._roads[Way.OUT, 0].is_resetting:
                reset(client)
                continue
            life = self._loop.create_task(self._live(client, self._accepted))
            self._lives.add(life)
            life.add_done_callback(self._lives.discard)

    async def _live(self, client: socket.socket, number: int) -> None:
        """One connection.  It is made to the target only when both directions are open, as a handshake needs both."""
        target: socket.socket | None = None
        end: Callable[[socket.socket], None] = reset
        try:
            half = self._half(client, number)
            for way in WAYS:
                await self._roads[way, half].is_open.wait()
            if not has_hung_up(client):
                place = address(self._target if isinstance(self._target, str) else self._target())
                target = socket_for(place)
                await self._loop.sock_connect(target, place)
                await self._pass_on(client, target, number, half)
                end = socket.socket.close  # both have said all: what the kernel still holds may arrive
        except OSError:
            pass  # one side is gone: the other one learns of it
        finally:
            end(client)
            if target is not None:
                end(target)

    def _half(self, client: socket.socket, number: int) -> int:
        peer = peer_pid(client) or -number
        return self._peers.setdefault(peer, len(self._peers)) % len(HALVES)

    async def _pass_on(self, client: socket.socket, target: socket.socket, number: int, half: int) -> None:
        lines = [
            Line(
                source,
                sink,
                self._roads[way, half],
                random.Random(f"{self._seed}/{number}/{way.name}"),
                is_zmtp=self._is_zmtp,
            )
            for source, sink, way in ((client, target, Way.OUT), (target, client, Way.BACK))
        ]
        tasks = [self._loop.create_task(step) for line in lines for step in (line.read(), line.write())]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
