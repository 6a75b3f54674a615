"""The simulator's model of the store answers as the real scripts do, to the same calls in the same order, repeated and late ones too."""

import random
import uuid
from typing import Any

import pytest

from regrow.actors import keys
from regrow.actors.claims import Share
from regrow.actors.records import Held
from regrow.actors.store import Store
from regrow.actors.task import (
    MAX_ATTEMPTS,
    Claimed,
    Digest,
    Failure,
    FailureKind,
    Move,
    NewTask,
    Outcome,
    Settlement,
    TaskId,
    WorkerId,
)
from regrow.chaos.simulation.store import ModelStore
from regrow.chaos.simulation.store_record import Record, Submission
from support.tasks import ask, digest_of, register
from support.valkey import Valkey

DISPATCHERS = ("a", "b")
WORKERS = (WorkerId("w0"), WorkerId("w1"))
STEPS = 120
MOST = 1 << 30


class Nobody:
    """Sees the model's moves, and thinks nothing of them."""

    def moved(self, record: Record, move: Move, attempt: int, kind: str = "", value: bytes | None = None) -> None:
        pass

    def inherited(self, record: Record, former: str) -> None:
        pass


class Twins:
    """Makes each call to both; the answers must be equal."""

    def __init__(self, server: Valkey, store: Store, seed: int) -> None:
        self.dice = random.Random(seed)
        self.server = server
        self.real = store
        self.model = ModelStore(Nobody(), [].append, lambda: 0.5)
        self.function = register(server.url)
        self.ids: list[TaskId] = []
        self.claims = dict.fromkeys(DISPATCHERS, 0)
        self.claimed: list[tuple[str, Claimed]] = []
        self.series = ""  # that the real one began last: it inherits under that
        self.settled: list[tuple[str, list[Settlement]]] = []

    def submit(self) -> None:
        new = [TaskId(str(uuid.uuid4())) for _ in range(self.dice.randint(1, 4))]
        again = self.dice.sample(self.ids, min(1, len(self.ids)))
        limits = {task_id: self.dice.choice((1, MAX_ATTEMPTS)) for task_id in new + again}
        self.ids += new
        real = [NewTask(task_id, self.function, b"p", limit) for task_id, limit in limits.items()]
        model = [Submission(task_id, digest_of(b"code"), b"p", limit) for task_id, limit in limits.items()]
        self.same(ask(self.server.url, lambda store: store.submit(real, 30)), self.model.submit(model, 30))

    def claim(self) -> None:
        """A new one, the last one again, or one that comes after a later one."""
        who = self.dice.choice(DISPATCHERS)
        self.claims[who] += 1 if self.dice.random() < 0.7 else 0
        number = max(1, self.claims[who] - (1 if self.dice.random() < 0.2 else 0))
        shares = [Share(worker, self.dice.randint(0, 2), self.dice.choice((0.0, 0.002))) for worker in WORKERS]
        known = {digest_of(b"code"): 0.001} if self.dice.random() < 0.5 else dict[Digest, float]()
        real = self.real.claim(who, f"{who}/1-{number}", shares, known, MOST)
        self.same(real, self.model.claim(who, f"{who}/1-{number}", shares, known))
        self.claimed += [(who, task) for task in real.tasks]

    def begin(self) -> None:
        """A series of claims: the one that is made here, or that of a former incarnation, which comes late."""
        who = self.dice.choice(DISPATCHERS)
        self.series = self.dice.choice((f"{who}/1", f"{who}/1", f"{who}/0"))
        self.same(self.real.begin(who, self.series), self.model.begin(who, self.series))

    def settle(self) -> None:
        """What was claimed once, whether it is still so or not, by its dispatcher or another."""
        if not self.claimed:
            return
        some = self.dice.sample(self.claimed, self.dice.randint(1, min(3, len(self.claimed))))
        who = some[0][0] if self.dice.random() < 0.8 else self.dice.choice(DISPATCHERS)
        one_each = {(task.task_id, task.attempt): task for _, task in some}
        self.settle_these(who, [self.ending(task) for task in one_each.values()])

    def settle_again(self) -> None:
        if self.settled:
            self.settle_these(*self.dice.choice(self.settled))

    def settle_these(self, who: str, settlements: list[Settlement]) -> None:
        self.settled.append((who, settlements))
        self.same(self.real.settle(who, settlements), self.model.settle(who, settlements))

    def ending(self, task: Claimed | Held) -> Settlement:
        move = self.dice.choice((Move.SUCCEED, Move.FAIL, Move.CRASH, Move.LOSE_WORKER, Move.GIVE_BACK))
        kind = FailureKind.CRASHED if move is Move.CRASH else FailureKind.RAISED
        outcome = None
        if move is Move.SUCCEED:
            outcome = Outcome(task.task_id, task.attempt, b"v")
        elif move in (Move.FAIL, Move.CRASH):
            outcome = Outcome(task.task_id, task.attempt, None, Failure(kind, "E", "no"))
        return Settlement(task.task_id, task.attempt, move, task.worker, outcome)

    def cancel(self) -> None:
        some = [*self.dice.sample(self.ids, min(2, len(self.ids))), TaskId("unknown")]
        self.same(ask(self.server.url, lambda store: store.cancel(some, 3600.0)), self.model.cancel(some))

    def drops(self) -> None:
        who = self.dice.choice(DISPATCHERS)
        seen = self.model.drops(who)
        self.model.dropped(who, seen)
        self.same(sorted(self.real.drops(who), key=str), sorted(seen, key=str))

    def inherit(self) -> None:
        """From one that has been silent since long ago, or lives."""
        heir, former = self.dice.sample(DISPATCHERS, 2)
        if self.dice.random() < 0.5:
            with self.server.client() as client:
                client.zadd(keys.BEATS, {former: 1})
            self.model.beats[former] = -MOST
        elif former in self.model.beats and self.model.beats[former] < 0:
            return
        real, (_, model) = self.real.inherit(heir, former), self.model.inherit(heir, former, self.series)
        self.same(sorted(real, key=str), sorted(model, key=str))

    def same(self, real: Any, model: Any) -> None:
        assert real == model
        for who in DISPATCHERS:
            assert sorted(self.real.leases(who), key=str) == sorted(self.model.leases_of(who), key=str)
        found = ask(self.server.url, lambda store: store.read(self.ids, with_result=True))
        for task_id, record in zip(self.ids, found, strict=True):
            mine = self.model.tasks.get(task_id)
            assert (record is None) == (mine is None)
            if record is not None and mine is not None:
                assert (record.status, record.value) == (mine.status, mine.value)
                assert record.failure is None or str(record.failure.kind) == mine.kind


@pytest.mark.parametrize("seed", range(8))
def test_the_model_answers_as_the_scripts_do(server: Valkey, store: Store, seed: int) -> None:
    twins = Twins(server, store, seed)
    calls = (
        twins.submit,
        twins.claim,
        twins.claim,
        twins.settle,
        twins.settle,
        twins.settle_again,
        twins.cancel,
        twins.drops,
        twins.begin,
    )

    for _ in range(STEPS):
        twins.dice.choice((*calls, twins.inherit))()
