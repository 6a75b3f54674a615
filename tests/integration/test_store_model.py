"""The store against a small model of it: submits, claims and settlements in any order, repeated, late and from the wrong side.

Checked after every step, on what the server really holds:

- no task is lost and none is in two places: each is in the queue, in one dispatcher's leases, or has ended;
- the queue has the model's order;
- a stored outcome belongs to the attempt under lease;
- an ended task never changes again; attempt numbers only grow.
"""

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from regrow.actors import keys
from regrow.actors.astore import AsyncStore
from regrow.actors.claims import Claim, Share
from regrow.actors.records import SubmitVerdict
from regrow.actors.store import Store
from regrow.actors.task import (
    MAX_LOST_WORKERS,
    Claimed,
    FailureKind,
    FunctionId,
    Move,
    NewTask,
    Settlement,
    State,
    TaskId,
    TaskRecord,
    Verdict,
)
from support.tasks import WORKER, failure, given_back, lost, register, success
from support.valkey import Valkey, valkey_server

DISPATCHERS = st.sampled_from(["a", "b"])
MOVES = st.sampled_from([Move.SUCCEED, Move.FAIL, Move.CRASH, Move.LOSE_WORKER, Move.GIVE_BACK])
MAX_QUEUED = 8


@dataclass
class Expected:
    """What the model knows of one task."""

    limit: int
    body: bytes
    state: State = State.QUEUED
    attempt: int = 0
    owner: str = ""
    deaths: int = 0
    lost: int = 0
    is_inherited: bool = False
    last: Move | None = None
    value: bytes | None = None
    kind: FailureKind | None = None
    ended: list[int] = field(default_factory=list)  # attempts that left a trace


class Model:
    """The rules, as plainly as they can be said."""

    def __init__(self) -> None:
        self.tasks: dict[TaskId, Expected] = {}
        self.queue: list[TaskId] = []

    def submit(self, new: list[NewTask]) -> list[SubmitVerdict]:
        verdicts = []
        for task in new:
            if (known := self.tasks.get(task.task_id)) is not None:
                verdicts.append(SubmitVerdict.REPEATED if known.body == task.body else SubmitVerdict.CONFLICT)
            elif len(self.queue) >= MAX_QUEUED:
                verdicts.append(SubmitVerdict.QUEUE_FULL)
            else:
                self.tasks[task.task_id] = Expected(task.max_attempts or 3, task.body)
                self.queue.append(task.task_id)
                verdicts.append(SubmitVerdict.ACCEPTED)
        return verdicts

    def claim(self, dispatcher: str, count: int) -> list[tuple[TaskId, int]]:
        taken, self.queue = self.queue[:count], self.queue[count:]
        for task_id in taken:
            task = self.tasks[task_id]
            task.state, task.attempt, task.owner, task.is_inherited = State.RUNNING, task.attempt + 1, dispatcher, False
        return [(task_id, self.tasks[task_id].attempt) for task_id in taken]

    def settle(self, dispatcher: str, settlements: list[Settlement]) -> list[Verdict]:
        front: list[TaskId] = []
        verdicts = [self._settle(dispatcher, settlement, front) for settlement in settlements]
        self.queue = front + self.queue
        return verdicts

    def _settle(self, dispatcher: str, settlement: Settlement, front: list[TaskId]) -> Verdict:
        task = self.tasks[settlement.task_id]
        is_ours = (task.owner, task.attempt) == (dispatcher, settlement.attempt)
        if is_ours and task.state is not State.RUNNING and task.last is settlement.move:
            return Verdict.REQUEUED if task.state is State.QUEUED else Verdict.STORED
        if not is_ours or task.state is not State.RUNNING:
            return Verdict.STALE
        task.last = settlement.move
        if settlement.move is not Move.GIVE_BACK:
            task.ended.append(task.attempt)
        task.kind = self._final_kind(task, settlement)
        if settlement.move is Move.SUCCEED:
            task.state, task.value = State.COMPLETED, value_of(settlement.task_id, settlement.attempt)
        elif task.kind is not None:
            task.state = State.FAILED
        else:
            task.state = State.QUEUED
            front.append(settlement.task_id)
            return Verdict.REQUEUED
        return Verdict.STORED

    def _final_kind(self, task: Expected, settlement: Settlement) -> FailureKind | None:
        match settlement.move:
            case Move.FAIL:
                return FailureKind.RAISED
            case Move.CRASH:
                task.deaths += 1
                if task.limit == 1:
                    return FailureKind.CRASHED
                return FailureKind.QUARANTINED if task.deaths >= task.limit else None
            case Move.LOSE_WORKER:
                task.lost += not task.is_inherited
                is_over = task.limit == 1 or (not task.is_inherited and task.lost >= MAX_LOST_WORKERS)
                return FailureKind.WORKER_LOST if is_over else None
        return None

    def inherit(self, heir: str, former: str) -> set[TaskId]:
        taken = {
            task_id for task_id, task in self.tasks.items() if task.state is State.RUNNING and task.owner == former
        }
        for task_id in taken:
            self.tasks[task_id].owner, self.tasks[task_id].is_inherited = heir, True
        return taken


def value_of(task_id: TaskId, attempt: int) -> bytes:
    """What an attempt returns: it names the attempt."""
    return f"{task_id} attempt {attempt}".encode()


def settlement_of(task: Claimed, move: Move) -> Settlement:
    """This claim ended so."""
    match move:
        case Move.SUCCEED:
            return success(task, value_of(task.task_id, task.attempt))
        case Move.FAIL:
            return failure(task)
        case Move.CRASH:
            return failure(task, Move.CRASH, FailureKind.CRASHED)
        case Move.LOSE_WORKER:
            return lost(task)
    return given_back(task)


class StoreMachine(RuleBasedStateMachine):
    """Drives the real store and the model alike."""

    server: Valkey
    claims = Bundle("claims")
    submits = Bundle("submits")

    @initialize()
    def begin(self) -> None:
        self.client = self.server.client()
        self.client.flushall()
        self.loop = asyncio.new_event_loop()
        self.gateway = AsyncStore.connect(self.server.url)
        self.store = Store.connect(self.server.url)
        self.function: FunctionId = register(self.server.url)
        self.model = Model()
        self.last_claims: dict[str, tuple[tuple[Any, ...], Claim]] = {}

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.run_until_complete(self.gateway.close())
            self.loop.close()
            self.store.close()
            self.client.close()

    def read(self) -> dict[TaskId, TaskRecord | None]:
        ids = list(self.model.tasks)
        return dict(zip(ids, self.loop.run_until_complete(self.gateway.read(ids, with_result=True)), strict=True))

    @rule(target=submits, limits=st.lists(st.sampled_from([1, 2, None]), min_size=1, max_size=4))
    def submit(self, limits: list[int | None]) -> list[NewTask]:
        new = [NewTask(TaskId(str(uuid.uuid4())), self.function, b"p", limit, b"body") for limit in limits]
        self.resubmit(new)
        return new

    @rule(new=submits)
    def submit_other_bodies(self, new: list[NewTask]) -> None:
        self.resubmit([msgspec.structs.replace(task, params=b"q", body=b"another") for task in new])

    @rule(new=submits)
    def resubmit(self, new: list[NewTask]) -> None:
        verdicts = self.loop.run_until_complete(self.gateway.submit(new, MAX_QUEUED))
        assert verdicts == self.model.submit(new)

    @rule(target=claims, dispatcher=DISPATCHERS, count=st.integers(0, 4))
    def claim(self, dispatcher: str, count: int) -> Any:
        return multiple(*self.claim_some(dispatcher, count))

    def claim_some(self, dispatcher: str, count: int) -> list[tuple[str, Claimed]]:
        arguments: tuple[Any, ...] = (dispatcher, str(uuid.uuid4()), [Share(WORKER, count, 0.0)], {}, 1000)
        claim = self.store.claim(*arguments)
        self.last_claims[dispatcher] = (arguments, claim)
        assert [(task.task_id, task.attempt) for task in claim.tasks] == self.model.claim(dispatcher, count)
        assert claim.left == len(self.model.queue)
        return [(dispatcher, task) for task in claim.tasks]

    @rule(dispatcher=DISPATCHERS)
    def repeat_claim(self, dispatcher: str) -> None:
        if dispatcher in self.last_claims:
            arguments, claim = self.last_claims[dispatcher]
            still_ours = [
                task
                for task in claim.tasks
                if self.model.tasks[task.task_id].state is State.RUNNING
                and self.model.tasks[task.task_id].owner == dispatcher
                and self.model.tasks[task.task_id].attempt == task.attempt
            ]
            assert self.store.claim(*arguments).tasks == still_ours

    @rule(taken=st.lists(claims, min_size=1, max_size=3), move=MOVES, repeats=st.integers(1, 2))
    def settle(self, taken: list[tuple[str, Claimed]], move: Move, repeats: int) -> None:
        """By whoever claimed the first of them, once or again; the others may be old claims, or somebody else's."""
        dispatcher = taken[0][0]
        for _ in range(repeats):
            settlements = [settlement_of(task, move) for _, task in taken]
            assert self.store.settle(dispatcher, settlements) == self.model.settle(dispatcher, settlements)

    @rule(dispatcher=DISPATCHERS, taken=claims, move=MOVES)
    def settle_whose_ever_it_is(self, dispatcher: str, taken: tuple[str, Claimed], move: Move) -> None:
        settlements = [settlement_of(taken[1], move)]
        assert self.store.settle(dispatcher, settlements) == self.model.settle(dispatcher, settlements)

    @rule(target=claims, taken=claims)
    def run_again_and_be_late(self, taken: tuple[str, Claimed]) -> Any:
        """What was claimed goes back and is claimed again; then the first attempt speaks."""
        dispatcher, task = taken
        back = [given_back(task)]
        assert self.store.settle(dispatcher, back) == self.model.settle(dispatcher, back)
        again = self.claim_some(dispatcher, 1)
        late = [settlement_of(task, Move.SUCCEED)]
        assert self.store.settle(dispatcher, late) == self.model.settle(dispatcher, late)
        return multiple(*again)

    @rule(dispatcher=DISPATCHERS)
    def fall_silent_and_be_inherited(self, dispatcher: str) -> None:
        heir = "b" if dispatcher == "a" else "a"
        self.client.zadd(keys.BEATS, {dispatcher: 0}, xx=True)
        taken = self.store.inherit(heir, dispatcher)
        assert {held.task_id for held in taken} == self.model.inherit(heir, dispatcher)

    @invariant()
    def each_task_is_in_one_place(self) -> None:
        if not hasattr(self, "model"):
            return
        queue = [TaskId(cast("bytes", task_id).decode()) for task_id in self.client.lrange(keys.QUEUE, 0, -1)]
        leases = {name: {held.task_id: held.attempt for held in self.store.leases(name)} for name in ("a", "b")}
        assert queue == self.model.queue
        for name, held in leases.items():
            running = {
                i: t.attempt for i, t in self.model.tasks.items() if t.state is State.RUNNING and t.owner == name
            }
            assert held == running
        ended = [
            task_id for task_id, task in self.model.tasks.items() if task.state not in (State.QUEUED, State.RUNNING)
        ]
        assert sorted([*queue, *leases["a"], *leases["b"], *ended]) == sorted(self.model.tasks)

    @invariant()
    def nothing_is_missing(self) -> None:
        """The sum by which a search is begun is right after every step."""
        if hasattr(self, "model"):
            assert self.loop.run_until_complete(self.gateway.missing()) == (0, 0)
            assert self.open_tasks() == self.places()

    def open_tasks(self) -> int:
        return sum(int(n) for n in self.client.hvals("{regrow}:open"))

    def places(self) -> int:
        """Queue, without ghosts, and leases: neither more nor less than there are open tasks."""
        ghosts = int(self.client.hget(keys.COUNTERS, "ghosts") or 0)
        return self.client.llen(keys.QUEUE) - ghosts + sum(self.client.hlen(keys.leases(name)) for name in "ab")

    @invariant()
    def each_record_is_as_expected(self) -> None:
        if not hasattr(self, "model"):
            return
        for task_id, record in self.read().items():
            task = self.model.tasks[task_id]
            assert record is not None
            assert (record.status, record.value) == (task.state, task.value)
            assert (record.failure.kind if record.failure else None) == task.kind
            running = [task.attempt] if task.state is State.RUNNING else []
            assert [attempt.number for attempt in record.attempts] == task.ended + running
            assert [attempt.ended_at is None for attempt in record.attempts] == [False] * len(task.ended) + [
                True
            ] * len(running)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey_server(tmp_path_factory.mktemp("store")) as server:
        yield server


def test_the_store_does_what_the_model_says_whatever_comes_in_whatever_order(server: Valkey) -> None:
    machine = type("Machine", (StoreMachine,), {"server": server})

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
