"""Shell: follows a tree's record of events over restarts of its gateway, and writes it down in monotonic time.

``is_whole`` is False when the stream said that events are missing. Kinds of events that are not known here are passed over.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from regrow.chaos.history import ChildMove, Move, TaskMove
from regrow.chaos.lines import Lines

AGAIN_S: Final = 0.2  # after a connection that was lost
SILENT_S: Final = 40.0  # the stream beats every 15 s
CONNECT_S: Final = 5.0
LONGEST_LINE: Final = 2**20


class Collector:
    """One follower of one tree, from now on."""

    def __init__(self, gateway: str, path: Path, skew_s: Callable[[], float] = float) -> None:
        """``skew_s``: by how much the wall clock of the tree's processes is wrong now; the store's is always right."""
        self.moves: list[Move] = []
        self.is_whole = True
        self.terminal: set[str] = set()  # ids of tasks whose end is in the record
        self.is_following = asyncio.Event()
        self._gateway = gateway
        self._path = path
        self._skew_s = skew_s
        self._last = ""

    async def run(self) -> None:
        """Follow until cancelled."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENT_S)
        async with aiohttp.ClientSession(timeout=timeout, read_bufsize=LONGEST_LINE) as session:
            with Lines(self._path) as lines:
                while True:
                    with suppress(aiohttp.ClientError, TimeoutError, OSError, ValueError):
                        await self._listen(session, lines)
                    await asyncio.sleep(AGAIN_S)

    async def has(self, ids: set[str], within_s: float) -> bool:
        """Wait until the ends of all these tasks are in the record."""
        deadline = time.monotonic() + within_s
        while not ids <= self.terminal:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(AGAIN_S)
        return True

    async def _listen(self, session: aiohttp.ClientSession, lines: Lines) -> None:
        headers = {"Last-Event-ID": self._last} if self._last else {}
        async with session.get(f"{self._gateway}/v1/events", headers=headers) as answer:
            if answer.status != 200:
                return
            fields: dict[str, str] = {}
            async for line in answer.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                    continue
                self._take(fields, lines)
                fields = {}

    def _take(self, fields: dict[str, str], lines: Lines) -> None:
        """One event, or the greeting that has an id only."""
        self._last = fields.get("id", self._last)
        self.is_following.set()
        kind = fields.get("event", "")
        if kind == "gap":
            self.is_whole = False
        if kind not in ("task", "child"):
            return
        move = _move(kind, msgspec.json.decode(fields["data"]), 0.0 if kind == "task" else self._skew_s())
        if isinstance(move, TaskMove) and move.move in ("succeed", "fail", "give_up", "cancel", "expire"):
            self.terminal.add(move.task_id)
        self.moves.append(move)
        lines.add([move])


def _move(kind: str, data: dict[str, Any], skew_s: float) -> Move:
    wall_at = float(data["at"])
    now, wall_now = time.monotonic(), time.time()
    at = min(now, now - (wall_now - wall_at + skew_s))  # nothing is told before it happens
    if kind == "task":
        return TaskMove(at, wall_at, data["task_id"], data["move"], data["attempt"], data["worker"], data["why"])
    pid, reason = data.get("pid"), data.get("reason", "")
    return ChildMove(at, wall_at, data["event"], data["path"], data["incarnation"], pid, reason)
