"""Shell: looks at a tree while things are done to it: a reason to stop early, and a root that has to be started again."""

import asyncio
import time
from typing import Final

import aiohttp

from regrow.chaos.door import Door
from regrow.chaos.experiment import StopWhen
from regrow.chaos.fault import Role
from regrow.chaos.nemesis import Nemesis
from regrow.chaos.program import ProgramFailed
from regrow.chaos.stage import Stage
from regrow.chaos.tree import TreeGone, TreeUnreadable

LOOK_S: Final = 0.5  # between two looks
ANSWER_S: Final = 2.0


class Guard:
    """Over one run."""

    def __init__(self, limits: StopWhen, stage: Stage, nemesis: Nemesis, door: Door) -> None:
        self._limits = limits
        self._stage = stage
        self._nemesis = nemesis
        self._door = door
        self._roots_killed = 0
        self._answered_at = time.monotonic()

    async def reason(self) -> str:
        """Look until there is one."""
        while True:
            await asyncio.sleep(LOOK_S)
            found = await self._look_at_the_tree() or await self._look_at_the_door() or self._look_at_the_faults()
            if found:
                return found

    async def _look_at_the_tree(self) -> str:
        tree = self._stage.tree
        if tree is None:
            return await self._look_at_the_tree_of_others()
        if not tree.program.has_ended():
            tree.notice()
            return ""
        killed = sum(
            strike.victim is not None and strike.victim.role == Role.ROOT and strike.applied_at is not None
            for strike in self._nemesis.strikes
        )
        if killed <= self._roots_killed:
            return "the tree ended by itself"
        self._roots_killed = killed
        tree.start()
        try:
            await asyncio.to_thread(tree.wait_ready)
        except ProgramFailed as error:
            return f"the tree could not be started again: {error}"
        return ""

    async def _look_at_the_tree_of_others(self) -> str:
        try:
            await asyncio.to_thread(self._stage.scene.read_tree)
        except TreeGone as error:
            return str(error)
        except TreeUnreadable:
            pass  # it may well be what is harmed just now
        return ""

    async def _look_at_the_door(self) -> str:
        limit_s = self._limits.gateway_down_s
        if limit_s is None:
            return ""
        if await _answers(self._door):
            self._answered_at = time.monotonic()
        if time.monotonic() - self._answered_at <= limit_s:
            return ""
        return f"the gateway has not answered for {limit_s:g} s"

    def _look_at_the_faults(self) -> str:
        most = self._limits.faults_outstanding
        if most is None or self._nemesis.outstanding <= most:
            return ""
        return f"more than {most} faults were not undone"


async def _answers(door: Door) -> bool:
    """Whether the gateway says anything at all, as a client sees it."""
    try:
        async with door.session.get(f"{door.url}/healthz", timeout=aiohttp.ClientTimeout(ANSWER_S)) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False
