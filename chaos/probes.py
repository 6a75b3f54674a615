"""Shell: looks at the steady state: a canary task, an HTTP address, a branch of the tree."""

import asyncio
import time
from collections.abc import Callable
from typing import Literal

import aiohttp

from regrow.chaos.door import Door, NoAnswer
from regrow.chaos.evidence import Sample
from regrow.chaos.experiment import Hypothesis, Probe, Strategy
from regrow.chaos.tolerance import Answer, is_tolerable, part
from regrow.chaos.tree import TreeUnreadable
from regrow.chaos.workload import Load
from regrow.runtime.spec import ChildState
from regrow.runtime.tree import TreeNode

Stage = Literal["before", "during", "after"]
LOOKS: dict[Stage, frozenset[Strategy]] = {
    "before": frozenset({Strategy.BEFORE, Strategy.DEFAULT, Strategy.CONTINUOUS}),
    "during": frozenset({Strategy.DURING, Strategy.CONTINUOUS}),
    "after": frozenset({Strategy.AFTER, Strategy.DEFAULT, Strategy.CONTINUOUS}),
}


class Probes:
    """All probes of a hypothesis. ``note`` takes every sample as it comes."""

    def __init__(
        self,
        hypothesis: Hypothesis,
        door: Door,
        load: Load,
        read_tree: Callable[[], TreeNode],
        note: Callable[[Sample], None],
    ) -> None:
        self._hypothesis = hypothesis
        self._door = door
        self._load = load
        self._read_tree = read_tree
        self._note = note

    async def look(self, stage: Stage) -> list[Sample]:
        """Each probe once, if the strategy says so for this stage."""
        if self._hypothesis.strategy not in LOOKS[stage]:
            return []
        return [await self._sample(probe, stage) for probe in self._hypothesis.probes]

    async def watch(self) -> None:
        """Each probe again and again, side by side, until cancelled."""
        if self._hypothesis.strategy in LOOKS["during"]:
            async with asyncio.TaskGroup() as group:
                for probe in self._hypothesis.probes:
                    group.create_task(self._repeat(probe))

    async def _repeat(self, probe: Probe) -> None:
        due = time.monotonic()
        while True:
            await self._sample(probe, "during")
            due = max(due + self._hypothesis.every_s, time.monotonic())
            await asyncio.sleep(due - time.monotonic())

    async def _sample(self, probe: Probe, stage: Stage) -> Sample:
        at, problem = time.monotonic(), ""
        value = None
        try:
            async with asyncio.timeout(probe.timeout_s):
                value = part(probe.tolerance, await self._ask(probe))
        except (NoAnswer, TreeUnreadable, aiohttp.ClientError, OSError) as error:
            problem = f"{type(error).__name__}: {error}" if str(error) else f"no answer within {probe.timeout_s:g} s"
        shown = value if value is None or isinstance(value, int | float) else str(value)
        took_s = time.monotonic() - at
        sample = Sample(at, probe.name, stage, is_tolerable(probe.tolerance, value), shown, problem, took_s)
        self._note(sample)
        return sample

    async def _ask(self, probe: Probe) -> Answer:
        match probe.type:
            case "task":
                return await self._canary()
            case "http":
                return await self._fetch(probe.url)
            case "tree":
                return _branch(await asyncio.to_thread(self._read_tree), probe.path)

    async def _canary(self) -> Answer:
        began = time.monotonic()
        seen = await self._load.canary()
        return {"latency_ms": 1000 * (time.monotonic() - began), "value": seen.value, "status": seen.status}

    async def _fetch(self, url: str) -> Answer:
        began = time.monotonic()
        async with self._door.session.get(url.replace("{gateway}", self._door.url)) as answer:
            body = await answer.text()
        return {"status": answer.status, "latency_ms": 1000 * (time.monotonic() - began), "body": body}


def _branch(tree: TreeNode, path: str) -> Answer:
    """``/workers``, ``workers`` and ``root/workers`` are the same."""
    name = path.strip("/")
    node = tree.find(name if name.partition("/")[0] == tree.path else f"{tree.path}/{name}".rstrip("/"))
    if node is None:
        return {"running": None}
    running = sum(child.state is ChildState.RUNNING for child in node.children)
    return {"running": running, "restarts": sum(each.restarts for each in node.walk()), "state": str(node.state)}
