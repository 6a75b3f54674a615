"""Shell: how bytes move through a proxy: a road is one direction of all its connections, a line one direction of one."""

import asyncio
import random
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from regrow.chaos.link_fault import Cut, Delay, FrameFault, LinkFault, Reset, Slice, Throttle
from regrow.chaos.mishaps import Mishaps
from regrow.chaos.zmtp import Message, Splitter

CHUNK_BYTES: Final = 16 * 1024  # read at once
THROTTLE_STEP_S: Final = 0.05  # a throttled line passes so much of a second at once
LINE_CHUNKS: Final = 1024  # read and not passed on yet, per line; then reading stops


class Road:
    """What happens now to everything that goes in one direction."""

    def __init__(self) -> None:
        self.is_open = asyncio.Event()
        self.passed_bytes = 0
        self.mishaps: Counter[type[FrameFault]] = Counter()
        self._faults: list[LinkFault] = []
        self._combine()

    def put(self, fault: LinkFault) -> None:
        """Beside what happens already; of one kind the last one counts."""
        self._faults.append(fault)
        self._combine()

    def clear(self, is_over: Callable[[LinkFault], bool]) -> None:
        """Have those end that are over."""
        self._faults = [fault for fault in self._faults if not is_over(fault)]
        self._combine()

    def _combine(self) -> None:
        self.is_resetting = False
        self.delay = Delay(0.0)
        self.slice: Slice | None = None
        self.throttle: Throttle | None = None
        self.frames: dict[type[FrameFault], FrameFault] = {}
        is_cut = False
        for fault in self._faults:
            match fault:
                case Cut():
                    is_cut = True
                case Delay():
                    self.delay = fault
                case Slice():
                    self.slice = fault
                case Throttle():
                    self.throttle = fault
                case Reset():
                    self.is_resetting = True
                case _:
                    self.frames[type(fault)] = fault
        (self.is_open.clear if is_cut else self.is_open.set)()

    def piece_bytes(self) -> int:
        """How much may be written at once."""
        throttled = max(1, int(self.throttle.bytes_per_s * THROTTLE_STEP_S)) if self.throttle else CHUNK_BYTES
        return min(self.slice.size_bytes if self.slice else CHUNK_BYTES, throttled, CHUNK_BYTES)

    def pause_s(self, size_bytes: int) -> float:
        """How long to wait after a piece."""
        sliced_s = self.slice.pause_s if self.slice else 0.0
        return max(sliced_s, size_bytes / self.throttle.bytes_per_s if self.throttle else 0.0)


class Line:
    """One direction of one connection."""

    def __init__(
        self, source: socket.socket, sink: socket.socket, road: Road, chance: random.Random, *, is_zmtp: bool
    ) -> None:
        self._source = source
        self._sink = sink
        self._road = road
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(LINE_CHUNKS)
        self._last_due = 0.0
        self._splitter = Splitter() if is_zmtp else None
        self._mishaps = Mishaps(chance.random, road.mishaps)

    async def read(self) -> None:
        """Take in what comes, stamped with the time at which it may go on; an empty chunk is the end."""
        data = b"-"
        while data:
            await self._road.is_open.wait()
            data = await self._loop.sock_recv(self._source, CHUNK_BYTES)
            sent = self._sifted(data)
            delay = self._road.delay
            due = self._loop.time() + delay.by_s + delay.jitter_s * self._chance.uniform(-1.0, 1.0)
            self._last_due = max(self._last_due, due)
            if sent:
                await self._chunks.put((self._last_due, sent))
        await self._chunks.put((self._last_due, b""))

    def _sifted(self, data: bytes) -> bytes:
        """What is to be sent on for it; at the end of the direction, what is left."""
        if self._splitter is None:
            return data
        sent: list[bytes] = []
        for piece in self._splitter.feed(data):
            if isinstance(piece, Message):
                sent += (message.wire() for message in self._mishaps.pass_on(piece, self._road.frames))
            else:
                sent.append(piece)
        if not data:
            sent += (message.wire() for message in self._mishaps.rest())
        return b"".join(sent)

    async def write(self) -> None:
        """Pass on what is due, and at last the end."""
        while True:
            due, data = await self._chunks.get()
            await asyncio.sleep(max(0.0, due - self._loop.time()))
            await self._road.is_open.wait()
            if not data:
                with suppress(OSError):
                    self._sink.shutdown(socket.SHUT_WR)
                return
            await self._hand_over(data)

    async def _hand_over(self, data: bytes) -> None:
        while data:
            await self._road.is_open.wait()
            size = self._road.piece_bytes()
            piece, data = data[:size], data[size:]
            await self._loop.sock_sendall(self._sink, piece)
            self._road.passed_bytes += len(piece)
            if pause_s := self._road.pause_s(len(piece)):
                await asyncio.sleep(pause_s)
