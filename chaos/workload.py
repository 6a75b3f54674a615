"""Shell: the workload of a run: submits at their times, whatever becomes of earlier ones, and reads until all have ended.

::

    dues ──▶ POST /v1/tasks ──ack──▶ fresh ──a poll for each cohort──▶ ended
             (never waits)                └──still not ended──▶ slow ──one poll for all──▶ ended

What is acknowledged within ``GATHER_S`` is one cohort, with a long poll of its own, so its ends are seen at once; after
``FRESH_S`` what is left joins the slow ones, which one poll after another asks after.  Of a read only the ends are noted.

Some kinds have more done to them: submitted once more under the same key, whatever became of the first time; or cancelled, half of
them at once and half when they run.  A cancel without an answer is repeated.
"""

import asyncio
import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from regrow.chaos import arrivals
from regrow.chaos.door import Call, Door, NoAnswer, is_certain
from regrow.chaos.experiment import Workload
from regrow.chaos.history import Op
from regrow.chaos.kinds import KINDS
from regrow.chaos.portable import portable
from regrow.chaos.sightings import Errand, Sightings
from regrow.gateway import by_value
from regrow.gateway.answers import Accepted, FunctionRequest

GATHER_S: Final = 0.02
FRESH_S: Final = 2.0
CANARY_S: Final = 1.0  # of one poll for a canary
SLOW_S: Final = 0.1  # of one poll for the slow ones
AGAIN_S: Final = 0.1  # after a read that failed
BATCH: Final = 200  # submits in one request, and tasks in one final read
READS: Final = 10  # tries of the final read of one batch
CANCEL_S: Final = 0.3  # after which a task is cancelled that is to run by then
CANCELS: Final = 10  # tries of one cancel


class Load:
    """The tasks of one run, numbered as they are sent.  ``witness`` is the directory that they write to."""

    def __init__(self, door: Door, workload: Workload, seed: int, witness: Path, sightings: Sightings) -> None:
        self.sent = 0
        self.acknowledged: dict[str, Errand] = {}  # by task id
        self.open: set[str] = set()  # ids of those that have not been seen ended
        self._door = door
        self._workload = workload
        self._seed = seed
        self._witness = str(witness)
        self._sightings = sightings
        self._functions: dict[str, str] = {}  # ids by kind
        self._token = secrets.token_hex(8)  # keys of this run are no other's
        self._fresh: list[str] = []
        self._slow: set[str] = set()
        self._submits = 0  # under way
        self._all_sent = asyncio.Event()
        self._canaries: set[asyncio.Task[list[Errand]]] = set()
        self._group = asyncio.TaskGroup()
        self._loop = asyncio.get_running_loop()

    async def register(self) -> None:
        """Give the tree the functions of all kinds.  Raises NoAnswer."""
        for kind, terms in KINDS.items():
            request = FunctionRequest(f"chaos-{kind}", portable(kind), terms.max_attempts)
            self._functions[kind] = await self._door.register(request)

    async def run(self, began: float) -> None:
        """Send every submit at its time after ``began``, and follow all until they have ended."""
        async with self._group:
            self._group.create_task(self._send(began))
            await self._follow()

    async def all_sent(self) -> None:
        """Wait for the last submit."""
        await self._all_sent.wait()

    def cease(self) -> None:
        """No more submits; what is acknowledged is followed still."""
        self._all_sent.set()

    def add(self, kind: str, number_of: int) -> None:
        """More tasks of a registered kind, now; may be called from any thread."""
        self._loop.call_soon_threadsafe(self._dispatch, [kind] * number_of, [time.monotonic()] * number_of)

    async def canary(self) -> Op:
        """One more task, which does nothing, sent now and awaited: how it was seen to end.  Raises NoAnswer.

        Whoever waits no longer for it breaks nothing off: its answer is taken, and its end followed.
        """
        errand = self._next("noop")
        sending = asyncio.create_task(self._submit([errand], [time.monotonic()]))
        self._canaries.add(sending)
        sending.add_done_callback(self._canaries.discard)
        accepted = await asyncio.shield(sending)
        if not accepted:
            raise NoAnswer("not_accepted", is_certain=False)
        while accepted[0].task_id in self.open:
            await self._read([accepted[0].task_id], CANARY_S)
        return self._sightings.end_of(errand.number)

    async def final(self) -> None:
        """Read every acknowledged task once more.  A batch that gets no answer for a while is left out."""
        ids = list(self.acknowledged)
        for start in range(0, len(ids), BATCH):
            await self._read_finally(ids[start : start + BATCH])

    # submits

    async def _send(self, began: float) -> None:
        kinds: list[str] = []
        dues: list[float] = []
        for number, due in enumerate(arrivals.dues(self._workload, self._seed)):
            at = began + due
            if at > time.monotonic() or len(dues) == BATCH:
                self._dispatch(kinds, dues)
                kinds, dues = [], []
                await asyncio.sleep(max(0.0, at - time.monotonic()))
            if self._all_sent.is_set():
                return
            kinds.append(arrivals.kind_of(self._workload, self._seed, number))
            dues.append(at)
        self._dispatch(kinds, dues)
        self.cease()

    def _dispatch(self, kinds: list[str], dues: list[float]) -> None:
        """Send these now, and go on at once."""
        if kinds and not self._all_sent.is_set():
            self._group.create_task(self._pursue([self._next(kind) for kind in kinds], dues))

    def _next(self, kind: str) -> Errand:
        self.sent += 1
        return Errand(self.sent - 1, kind)

    async def _pursue(self, errands: list[Errand], dues: list[float]) -> None:
        """Submit them, and do what else their kinds want done."""
        for accepted in await self._submit(errands, dues):
            if KINDS[accepted.kind].is_cancelled:
                self._group.create_task(self._cancel(accepted))
        again = [errand for errand in errands if KINDS[errand.kind].is_sent_twice]
        if again:
            await self._submit(again)

    async def _submit(self, errands: list[Errand], dues: list[float] | None = None) -> list[Errand]:
        """Those that were accepted."""
        self._submits += 1
        invoked = self._sightings.invoke("submit", errands, time.monotonic(), dues)
        calls = [self._call(each) for each in errands]
        try:
            answer = await self._door.submit(calls)
        except NoAnswer as error:
            self._sightings.failed(invoked, error)
            return []
        except asyncio.CancelledError:
            self._sightings.failed(invoked, NoAnswer("interrupted", is_certain=False))
            raise
        finally:
            self._submits -= 1
        return [found for told in zip(errands, invoked, answer.tasks, strict=True) if (found := self._told(*told))]

    def _call(self, errand: Errand) -> Call:
        key = f"chaos-{self._token}-{errand.number}" if KINDS[errand.kind].is_sent_twice else None
        return Call(self._functions[errand.kind], by_value.dumps_call((errand.number, self._witness), {}), key)

    def _told(self, errand: Errand, invoked: Op, answer: Accepted) -> Errand | None:
        """What became of one submit."""
        if answer.error is not None:
            problem = NoAnswer(answer.error.code, is_certain=is_certain(answer.error.status))
            self._sightings.failed([invoked], problem)
            return None
        self._sightings.acknowledged(invoked, answer.task_id)
        accepted = Errand(errand.number, errand.kind, answer.task_id)
        if accepted.task_id not in self.acknowledged:
            self.acknowledged[accepted.task_id] = accepted
            self.open.add(accepted.task_id)
            self._fresh.append(accepted.task_id)
        return accepted

    async def _cancel(self, errand: Errand) -> None:
        await asyncio.sleep(CANCEL_S * (errand.number % 2))
        for _ in range(CANCELS):
            asked_at = time.monotonic()
            try:
                task = await self._door.cancel(errand.task_id)
            except NoAnswer as error:
                self._sightings.failed(self._sightings.invoke("cancel", [errand], asked_at), error)
                await asyncio.sleep(AGAIN_S)
            else:
                self._sightings.seen("cancel", [errand], asked_at, [task])
                return

    # reads

    async def _follow(self) -> None:
        while not self._all_sent.is_set() or self._submits or self.open:
            await asyncio.sleep(GATHER_S)
            if self._fresh:
                cohort, self._fresh = self._fresh, []
                self._group.create_task(self._poll(cohort))
            if self._slow:
                await self._read(sorted(self._slow), SLOW_S)

    async def _poll(self, cohort: list[str]) -> None:
        deadline = time.monotonic() + FRESH_S
        left = cohort
        while left and time.monotonic() < deadline:
            await self._read(left, max(0.0, deadline - time.monotonic()))
            left = [task_id for task_id in left if task_id in self.open]
        self._slow.update(left)

    async def _read(self, ids: list[str], wait_s: float) -> None:
        asked_at = time.monotonic()
        try:
            answer = await self._door.ended(ids, wait_s)
        except NoAnswer:
            await asyncio.sleep(AGAIN_S)
            return
        ended = [task for task in answer.tasks if task.task_id in self.open]
        self._sightings.seen("read", self._errands(task.task_id for task in ended), asked_at, ended)
        gone = {task.task_id for task in ended} | set(answer.unknown)  # what is not known is not waited for
        self.open -= gone
        self._slow -= gone

    async def _read_finally(self, left: list[str]) -> None:
        """One answer may have less than all that have ended; those that have not are asked for one by one."""
        tries = 0
        while left:
            asked_at = time.monotonic()
            try:
                done = await self._some_of(left, asked_at)
            except NoAnswer as error:
                tries += 1
                if tries == READS:
                    self._sightings.failed(self._sightings.invoke("final", self._errands(left), asked_at), error)
                    return
                await asyncio.sleep(AGAIN_S)
            else:
                left = [task_id for task_id in left if task_id not in done]

    async def _some_of(self, left: list[str], asked_at: float) -> set[str]:
        answer = await self._door.ended(left)
        tasks = answer.tasks
        if not tasks and not answer.unknown:
            tasks = [await self._door.task(left[0])]
        self._sightings.seen("final", self._errands(task.task_id for task in tasks), asked_at, tasks)
        unknown = self._sightings.invoke("final", self._errands(answer.unknown), asked_at)
        self._sightings.failed(unknown, NoAnswer("unknown_task", is_certain=True))
        return {task.task_id for task in tasks} | set(answer.unknown)

    def _errands(self, ids: Iterable[str]) -> list[Errand]:
        return [self.acknowledged[task_id] for task_id in ids]
