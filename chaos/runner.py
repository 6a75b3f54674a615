"""Shell: one run of an experiment on a stage: workload, faults, probes and collector side by side, in one event loop.

::

    GATE ─▶ METHOD ──────────────────────────▶ heal ─▶ SETTLE ──────────────▶ READ ─▶ evidence
     │       submits and faults at their times          until every task has    probes, and every task once more
     │                                                  ended, or settle_s
     └─ a probe is out of tolerance: nothing is done

A stop (a signal, a stop condition, a nemesis that failed) ends whatever goes on; then everything is undone, before anything
else, and what there is becomes the evidence.  Nothing interrupts that.
"""

import asyncio
import time
from collections.abc import Awaitable, Coroutine
from contextlib import ExitStack, suppress
from typing import Any, Final

from regrow.chaos.census import take_census
from regrow.chaos.collector import Collector
from regrow.chaos.door import Door, NoAnswer
from regrow.chaos.dossier import Dossier
from regrow.chaos.evidence import Census, Evidence, Sample
from regrow.chaos.experiment import Experiment, Plan, Step
from regrow.chaos.guard import Guard
from regrow.chaos.lines import Lines
from regrow.chaos.nemesis import Nemesis
from regrow.chaos.probes import Probes
from regrow.chaos.progress import Count, Entered, Observer, Phase, Said, Sampled, Struck
from regrow.chaos.schedule import length_s
from regrow.chaos.sightings import Sightings
from regrow.chaos.stage import Stage
from regrow.chaos.tree import TreeUnreadable
from regrow.chaos.workload import Load
from regrow.runtime.errors import RegrowError
from regrow.runtime.spec import ChildState
from regrow.runtime.tree import TreeNode

COUNT_S: Final = 1.0
FOLLOWED_WITHIN_S: Final = 10.0
RECORD_S: Final = 5.0  # for the last ends to come into the record
FINAL_READS_S: Final = 60.0
LAST_WORDS_S: Final = 5.0  # for them after a stop
REGISTERED_WITHIN_S: Final = 10.0
AGAIN_S: Final = 0.2


class Unfit(RegrowError):
    """The tree was not in its steady state before the method, or could not be used at all: nothing was done to it."""

    code = "gate_failed"


class Run:
    """One run.  ``play`` is called once."""

    def __init__(
        self, experiment: Experiment, plan: Plan, stage: Stage, nemesis: Nemesis, dossier: Dossier, observer: Observer
    ) -> None:
        """To be made in the event loop that plays it."""
        self.why_stopped = ""
        self._experiment = experiment
        self._plan = plan
        self._stage = stage
        self._nemesis = nemesis
        self._dossier = dossier
        self._tell = observer
        self._stopped = asyncio.Event()
        self._samples: list[Sample] = []
        self._stack = ExitStack()

    def stop(self, why: str) -> None:
        """End early; to be called in the loop."""
        self.why_stopped = self.why_stopped or why
        self._stopped.set()

    async def play(self) -> Evidence:
        """The whole run.  Raises Unfit."""
        with self._stack:
            sightings = self._stack.enter_context(Sightings(self._dossier.history))
            self._sample_lines = self._stack.enter_context(Lines(self._dossier.samples))
            async with Door(self._stage.door) as door:
                load = Load(door, self._experiment.workload, self._experiment.seed, self._dossier.witness, sightings)
                self._stage.extra.submit = load.add
                collector = Collector(self._stage.scene.gateway, self._dossier.events, self._stage.skew_s)
                following = asyncio.create_task(collector.run())
                try:
                    return await self._play(door, load, collector, sightings)
                finally:
                    following.cancel()
                    await asyncio.wait({following})

    async def _play(self, door: Door, load: Load, collector: Collector, sightings: Sightings) -> Evidence:
        probes = Probes(self._experiment.hypothesis, door, load, self._stage.scene.read_tree, self._sampled)
        self._enter(Phase.GATE)
        before = await self._gate(load, collector, probes)
        self._enter(Phase.METHOD, max(self._experiment.workload.duration_s, length_s(self._plan)))
        began = time.monotonic()
        working = asyncio.create_task(load.run(began))
        counting = asyncio.create_task(self._count(load))
        try:
            await self._unless_stopped(self._method(began, door, load, probes, working))
        finally:
            load.cease()
            ended = await self._heal()
        settled_at = await self._settle(working)
        counting.cancel()
        self._tell(self._counted(load))
        await self._unless_stopped(self._whole_again(before, ended + self._experiment.settle_s))
        await self._read(load, collector, probes)
        after = None if self.why_stopped else await self._census()
        return Evidence(
            self._experiment, self._plan, began, ended, settled_at, time.monotonic(),
            tuple(sightings.ops), self._dossier.marks(), tuple(collector.moves), self._nemesis.strikes,
            tuple(self._samples), before, after, (), collector.is_whole, self.why_stopped,
            None if self._stage.tree is None else (),
        )  # fmt: skip

    # before

    async def _gate(self, load: Load, collector: Collector, probes: Probes) -> Census:
        """Everything is ready, and the steady state is there.  Raises Unfit."""
        await self._register(load)
        if not await _within(FOLLOWED_WITHIN_S, collector.is_following.wait()):
            raise Unfit(f"nothing came from {self._stage.scene.gateway}/v1/events: its events cannot be recorded")
        await self._unless_stopped(load.canary())  # the first task of a tree is slower than all others
        failed = [sample for sample in await probes.look("before") if not sample.is_tolerable]
        if failed:
            found = "; ".join(f"{sample.probe}: {sample.problem or sample.value}" for sample in failed)
            raise Unfit(f"the steady state was not there before the method, so nothing was done ({found})")
        if self.why_stopped:
            raise Unfit(f"{self.why_stopped}: nothing was done")
        return await asyncio.to_thread(take_census, self._stage.scene)

    async def _register(self, load: Load) -> None:
        deadline = time.monotonic() + REGISTERED_WITHIN_S
        while True:
            try:
                return await load.register()
            except NoAnswer as error:
                if time.monotonic() > deadline:
                    raise Unfit(f"the tree takes no functions: {error}") from None
            await asyncio.sleep(AGAIN_S)

    # the method

    async def _method(
        self, began: float, door: Door, load: Load, probes: Probes, working: "asyncio.Task[None]"
    ) -> None:
        """Until all faults have been done and all submits sent."""
        beside = [
            asyncio.create_task(work) for work in (self._guarded(door), probes.watch(), self._must_go_on(working))
        ]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(load.all_sent())
                for step in self._plan.steps:
                    group.create_task(self._strike(step, began))
        finally:
            for task in beside:
                task.cancel()
            await asyncio.wait(beside)

    async def _strike(self, step: Step, began: float) -> None:
        """At its time; over when its own time is over."""
        planned_at = began + step.at_s
        await asyncio.sleep(max(0.0, planned_at - time.monotonic()))
        try:
            strikes = await asyncio.to_thread(self._nemesis.strike, step, planned_at)
        except RegrowError as error:
            self.stop(f"the nemesis failed: {error}")
            return
        for strike in strikes:
            self._tell(Struck(strike))
        if any(strike.applied_at is not None for strike in strikes):
            await asyncio.sleep(max(0.0, planned_at + (step.for_s or 0.0) - time.monotonic()))

    async def _guarded(self, door: Door) -> None:
        self.stop(await Guard(self._experiment.stop_when, self._stage, self._nemesis, door).reason())

    async def _must_go_on(self, working: "asyncio.Task[None]") -> None:
        """A workload that ends with an error ends the run."""
        await asyncio.wait({working})
        if working.exception() is not None:
            self.stop("the workload failed")

    async def _count(self, load: Load) -> None:
        while True:
            await asyncio.sleep(COUNT_S)
            self._tell(self._counted(load))

    def _counted(self, load: Load) -> Count:
        acknowledged, outstanding = len(load.acknowledged), self._nemesis.outstanding
        return Count(time.monotonic(), load.sent, acknowledged, acknowledged - len(load.open), outstanding)

    async def _heal(self) -> float:
        """Undo everything, whatever else wants to happen; when that was."""
        healing = asyncio.create_task(asyncio.to_thread(self._nemesis.finish))
        while not healing.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({healing})
        for problem in healing.result():
            self._tell(Said(f"could not be undone: {problem}"))
        return time.monotonic()

    # after

    async def _settle(self, working: "asyncio.Task[None]") -> float | None:
        """When every acknowledged task had ended; None: not in time, or nobody waited for it."""
        within_s = self._experiment.settle_s
        self._enter(Phase.SETTLE, within_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._unless_stopped(asyncio.wait({working}))
        if working.done():
            working.result()
            return time.monotonic()
        working.cancel()
        await asyncio.wait({working})
        return None

    async def _whole_again(self, before: Census, deadline: float) -> None:
        """Until everything that was running before runs again; not longer than tasks are waited for."""
        while time.monotonic() < deadline:
            with suppress(TreeUnreadable):
                tree = await asyncio.to_thread(self._stage.scene.read_tree)
                if running(before.tree) <= running(tree):
                    return
            await asyncio.sleep(AGAIN_S)

    async def _census(self) -> Census | None:
        try:
            return await asyncio.to_thread(take_census, self._stage.scene)
        except TreeUnreadable:
            return None

    async def _read(self, load: Load, collector: Collector, probes: Probes) -> None:
        """The last looks, in a bounded time."""
        self._enter(Phase.READ)
        if not self.why_stopped:
            await self._unless_stopped(probes.look("after"))
        await _within(LAST_WORDS_S if self.why_stopped else FINAL_READS_S, load.final())
        await collector.has(set(load.acknowledged) - load.open, RECORD_S)

    # common

    def _enter(self, phase: Phase, within_s: float | None = None) -> None:
        self._tell(Entered(phase, time.monotonic(), within_s))

    def _sampled(self, sample: Sample) -> None:
        self._samples.append(sample)
        self._sample_lines.add([sample])
        self._tell(Sampled(sample))

    async def _unless_stopped(self, work: Awaitable[Any]) -> None:
        """Do it, or break it off at a stop.  Raises what it raises."""
        task = asyncio.ensure_future(work)
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        if not task.cancelled():
            task.result()


def running(tree: TreeNode) -> set[str]:
    """The paths of those that run."""
    return {node.path for node in tree.walk() if node.state is ChildState.RUNNING}


async def _within(within_s: float, work: Coroutine[Any, Any, Any]) -> bool:
    """Whether it ended in time; if not, it was broken off."""
    try:
        async with asyncio.timeout(within_s):
            await work
    except TimeoutError:
        return False
    return True
