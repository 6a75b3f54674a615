"""Core: a model of the store: the scripts of ``actors/lua`` as methods, each one atomic, with the same fences."""

from regrow.actors.claims import Claim, Share
from regrow.actors.records import FORGET_MS, SERIES_MS, SILENT_MS, Held, Pulse
from regrow.actors.task import (
    MAX_LOST_WORKERS,
    Claimed,
    Digest,
    Drop,
    Move,
    Settlement,
    State,
    TaskId,
    Verdict,
    after,
)
from regrow.actors.wire import BATCH_TASKS
from regrow.chaos.simulation.pace import CLAIM_BYTES, MOST_OOMS
from regrow.chaos.simulation.places import Places
from regrow.chaos.simulation.shelf import ENDED, Shelf
from regrow.chaos.simulation.store_record import Record

OOM_DELAY_MS = 1000  # settle.lua


class ModelStore(Shelf):
    """The whole of it."""

    # claim.lua

    def claim(self, dispatcher: str, claim_id: str, shares: list[Share], expected_s: dict[Digest, float]) -> Claim:
        """Hand queued tasks to the workers of one dispatcher."""
        newest, taken = self.memos.get(dispatcher, ("", []))
        if self.is_of_another(dispatcher, claim_id.rpartition("-")[0]):
            return Claim([], self.waiting(), is_refused=True)
        if self.is_outdated(newest, claim_id):
            return Claim([], self.waiting())
        if newest == claim_id:
            mine = [self.tasks[task_id] for task_id in taken if task_id in self.tasks]
            held = [task for task in mine if task.status is State.RUNNING and task.owner == dispatcher]
            return Claim([self._claimed(task) for task in held], self.waiting())
        tasks = self._take(dispatcher, Places(shares, expected_s))
        self.memos[dispatcher] = (claim_id, [task.task_id for task in tasks])
        if tasks:
            self.beats[dispatcher] = self.now_ms
        return Claim([self._claimed(task) for task in tasks], self.waiting())

    def begin(self, dispatcher: str, series: str) -> None:
        """From here on this dispatcher's claims are of this series (fence.lua)."""
        self.series[dispatcher] = (series, self.now_ms + SERIES_MS)

    def is_of_another(self, dispatcher: str, claims: str) -> bool:
        """Is it of another incarnation than has begun last?"""
        series, until = self.series.get(dispatcher, ("", 0))
        return self.now_ms < until and claims != series

    @staticmethod
    def is_outdated(newest: str, claim_id: str) -> bool:
        """Was it given up by its sender, who has made a later one of the same series since?"""
        series, _, place = claim_id.rpartition("-")
        newest_series, _, newest_place = newest.rpartition("-")
        return series == newest_series and int(place) < int(newest_place)

    def _take(self, dispatcher: str, places: Places) -> list[Record]:
        taken: list[Record] = []
        held_bytes = 0
        leases = self.leases.setdefault(dispatcher, {})
        while self.queue and len(taken) < places.most:
            task = self.tasks.get(self.queue[0])
            if task is None or task.status is not State.QUEUED:
                self.ghosts -= self.ghosts > 0
            elif self._is_overdue(task):
                self._expire(task)
            else:
                worker = None
                if not taken or held_bytes + len(task.params) <= CLAIM_BYTES:
                    worker = places.place(task.digest)
                if worker is None:
                    break
                held_bytes += len(task.params)
                task.status = after(task.status, Move.CLAIM)
                task.attempt += 1
                task.owner, task.worker, task.inherited = dispatcher, worker, False
                leases[task.task_id] = task.attempt
                taken.append(task)
                self._observer.moved(task, Move.CLAIM, task.attempt)
            self.queue.popleft()
        if not self.queue:
            self.ghosts = 0
        return taken

    def _claimed(self, task: Record) -> Claimed:
        deadline_s = None if task.deadline is None else max(0, task.deadline - self.now_ms) / 1000
        return Claimed(
            task.task_id,
            task.attempt,
            task.worker,
            task.digest,
            task.params,
            may_run_again=task.limit != 1,
            limits=task.limits,
            deadline_s=deadline_s,
        )

    # settle.lua

    def settle(self, dispatcher: str, settlements: list[Settlement]) -> list[Verdict]:
        """Write how attempts ended, each only if it is the current one of the dispatcher that asks."""
        requeued: list[TaskId] = []
        verdicts = [self._settle_one(dispatcher, settlement, requeued) for settlement in settlements]
        self.queue.extendleft(reversed(requeued))
        if requeued:
            self._publish("work")
        return verdicts

    def is_ours(self, task: Record, dispatcher: str, settlement: Settlement) -> bool:
        """The fence."""
        return task.attempt == settlement.attempt and task.owner == dispatcher

    def _settle_one(self, dispatcher: str, settlement: Settlement, requeued: list[TaskId]) -> Verdict:
        task = self.tasks.get(settlement.task_id)
        if task is None:
            self.leases.get(dispatcher, {}).pop(settlement.task_id, None)
            return Verdict.VANISHED
        if not self.is_ours(task, dispatcher, settlement):
            return Verdict.STALE
        if task.status is State.RUNNING:
            self.leases.get(dispatcher, {}).pop(task.task_id, None)
            return self._apply(task, settlement, requeued)
        if task.last is settlement.move:
            return Verdict.REQUEUED if task.status is State.QUEUED else Verdict.STORED
        return Verdict.STALE

    def _apply(self, task: Record, settlement: Settlement, requeued: list[TaskId]) -> Verdict:
        asked, outcome = settlement.move, settlement.outcome
        kind = "completed" if asked is Move.SUCCEED else "worker_lost" if asked is Move.LOSE_WORKER else ""
        if outcome is not None and outcome.failure is not None:
            kind = str(outcome.failure.kind)
        move, kind, delay_ms = self._judge(task, asked, kind)
        task.last = asked
        if after(task.status, move) is State.QUEUED:
            task.status = State.QUEUED
            if delay_ms is None:
                requeued.append(task.task_id)
            else:
                self._schedule(task.task_id, self.now_ms + delay_ms)
                self._publish("due")
            self._observer.moved(task, move, settlement.attempt, kind)
            return Verdict.REQUEUED
        self._finish(task, move, settlement.attempt, kind, None if outcome is None else outcome.value)
        return Verdict.STORED

    def _judge(self, task: Record, move: Move, kind: str) -> tuple[Move, str, int | None]:
        """It may run again, or has come to its limit: move, kind, delay in ms."""
        if move is Move.CRASH:
            task.deaths += 1
            if task.limit == 1:
                return Move.GIVE_UP, kind, None
            if task.deaths >= task.limit:
                return Move.GIVE_UP, "quarantined", None
        elif move is Move.OOM:
            task.ooms += 1
            if task.limit == 1 or task.ooms >= MOST_OOMS:
                return Move.GIVE_UP, kind, None
            return move, kind, OOM_DELAY_MS * 2 ** (task.ooms - 1)
        elif move is Move.LOSE_WORKER:
            if not task.inherited:
                task.lost += 1
            if task.limit == 1 or (not task.inherited and task.lost >= MAX_LOST_WORKERS):
                return Move.GIVE_UP, kind, None
        elif move is Move.FAIL and kind == "raised" and task.retry is not None and task.limit != 1:
            delay_ms = self._retry_ms(task)
            if delay_ms is not None:
                return Move.RETRY, kind, delay_ms
        return move, kind, None

    def _retry_ms(self, task: Record) -> int | None:
        retry = task.retry
        if retry is None or not retry.count:
            return None
        task.retried += 1
        if task.retried > retry.count:
            return None
        delay_s = min(retry.backoff_s * retry.factor ** (task.retried - 1), retry.max_backoff_s)
        return int(1000 * delay_s * (1 + retry.jitter * (2 * self._noise() - 1)))

    # beat.lua, inherit.lua, and the plain commands of actors/store.py

    def beat(self, dispatcher: str) -> Pulse:
        """One sign of life of a dispatcher, and a look at the others."""
        self.beats[dispatcher] = self.now_ms
        silent = []
        for other, last in list(self.beats.items()):
            if last >= self.now_ms - SILENT_MS:
                continue
            if self.leases.get(other):
                silent.append(other)
            elif last + FORGET_MS < self.now_ms:
                del self.beats[other]
        return Pulse(self.waiting(), silent, leases=len(self.leases.get(dispatcher, ())))

    def inherit(self, heir: str, former: str, series: str) -> tuple[int, list[Held]]:
        """Take over the leases of a dispatcher that has fallen silent: how many are left to be taken, and some."""
        last = self.beats.get(former)
        if self.is_of_another(heir, series):
            return 0, []
        if heir == former or (last is not None and self.now_ms - last <= SILENT_MS):
            return 0, []
        theirs, ours, taken = self.leases.get(former, {}), self.leases.setdefault(heir, {}), []
        for task_id in list(theirs)[:BATCH_TASKS]:
            del theirs[task_id]
            task = self.tasks.get(task_id)
            if task is not None and task.status not in ENDED:
                task.owner, task.inherited = heir, True
                ours[task_id] = task.attempt
                taken.append(self._held(task))
                self._observer.inherited(task, former)
        return len(theirs), taken

    def leases_of(self, dispatcher: str) -> list[Held]:
        """What a dispatcher has under lease."""
        return [self._held(self.tasks[task_id]) for task_id in self.leases.get(dispatcher, ())]

    def may_run_again(self, task_id: TaskId) -> bool:
        """Should it die."""
        return self.tasks[task_id].limit != 1

    def drops(self, dispatcher: str) -> list[Drop]:
        """What was cancelled while this dispatcher had it."""
        return list(self.drops_of.get(dispatcher, ()))

    def dropped(self, dispatcher: str, seen: list[Drop]) -> None:
        """It has read these."""
        left = [drop for drop in self.drops_of.pop(dispatcher, ()) if drop not in seen]
        if left:
            self.drops_of[dispatcher] = left

    def deregister(self, dispatcher: str) -> None:
        """A dispatcher has gone in order."""
        self.memos.pop(dispatcher, None)
        if dispatcher in self.beats:
            self.beats[dispatcher] = 0

    @staticmethod
    def _held(task: Record) -> Held:
        return Held(task.task_id, task.attempt, task.worker, task.digest)
