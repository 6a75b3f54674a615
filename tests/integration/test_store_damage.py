"""Whatever is damaged in the store: no script and no call raises, every task ends, and those that were left alone end right.

A record is damaged in one field: bits flipped, cut, replaced by noise or by something like it, or deleted. What a damaged task
comes to depends on the field; that it ends, and that nobody else notices, does not.
"""

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar
from zlib import crc32

import pytest

from regrow.actors import keys
from regrow.actors.astore import AsyncStore
from regrow.actors.claims import Share
from regrow.actors.limits import NO_TERMS, Limits, Options, Retry, Terms
from regrow.actors.records import DispatcherRecord, Held, SubmitVerdict
from regrow.actors.store import Store
from regrow.actors.task import (
    Claimed,
    FailureKind,
    FunctionId,
    FunctionRecord,
    Move,
    NewTask,
    Outcome,
    Settlement,
    State,
    TaskId,
    TaskRecord,
)
from support.damage import damaged
from support.tasks import WORKER, crash, digest_of, failure, given_back, lost, success
from support.valkey import Valkey, valkey_server

T = TypeVar("T")
MUTATIONS = 10_000
PER_ROUND = 48  # tasks of one round that are damaged; as many are left alone
ROUNDS_S = 30.0  # nothing waits for longer than that many ms in these tests; see the delays
RETRY = Terms(retry=Retry(count=2, backoff_s=0.001, max_backoff_s=0.001))
SHARED = (keys.COUNTERS, "{regrow}:open")
DISPATCHER = DispatcherRecord("a", "host", 1, "push", "ipc://x", 1.0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey_server(tmp_path_factory.mktemp("damage")) as server:
        yield server


@pytest.fixture
def world(server: Valkey) -> Iterator["World"]:
    world = World(server)
    yield world
    world.close()


class World:
    """One store from both sides, and a chance that is the same in every run."""

    def __init__(self, server: Valkey, seed: int = 15) -> None:
        self.chance = random.Random(seed)
        self.client = server.client()
        self.store = Store.connect(server.url)
        self.runner = asyncio.Runner()
        self.gateway = self.runner.run(self._connected(server.url))
        self.params: dict[TaskId, bytes] = {}
        self.hurt: set[TaskId] = set()
        self.ends: Counter[str] = Counter()

    @staticmethod
    async def _connected(url: str) -> AsyncStore:
        return AsyncStore.connect(url)

    def close(self) -> None:
        """Close all connections."""
        self.store.close()
        self.ask(lambda gateway: gateway.close())
        self.runner.close()
        self.client.close()

    def ask(self, question: Callable[[AsyncStore], Awaitable[T]]) -> T:
        """By the gateway's side."""

        async def asked() -> T:
            return await question(self.gateway)

        return self.runner.run(asked())

    def clear(self) -> None:
        """Begin a round."""
        self.client.flushall()
        self.params.clear()
        self.hurt.clear()

    def register(self, terms: Terms = NO_TERMS) -> FunctionId:
        """A new function."""
        function = FunctionId(str(uuid.UUID(int=self.chance.getrandbits(128), version=4)))
        record = FunctionRecord(function, "f", "Y29kZQ==", digest_of(b"code"), 4, 1.0, terms=terms, ttl_s=1000.0)
        self.ask(lambda gateway: gateway.put_function(record, b"code"))
        return function

    def submit(self, function: FunctionId, count: int) -> list[TaskId]:
        """New tasks with all sorts of options."""
        new = [self._task(function, number) for number in range(count)]
        self.params |= {task.task_id: task.params for task in new}
        verdicts = self.ask(lambda gateway: gateway.submit(new, 1_000_000))
        assert verdicts == [SubmitVerdict.ACCEPTED] * count
        return [task.task_id for task in new]

    def _task(self, function: FunctionId, number: int) -> NewTask:
        params = self.chance.randbytes(self.chance.randrange(1, 60))
        options = Options(
            limits=Limits(wall_s=9.0) if number % 3 == 0 else None,
            delay_s=0.001 if number % 8 == 7 else None,
            expires_s=1000.0 if number % 5 == 0 else None,
            deadline_s=1000.0 if number % 4 == 0 else None,
        )
        task_id = TaskId(str(uuid.UUID(int=self.chance.getrandbits(128), version=4)))
        return NewTask(task_id, function, params, checksum=crc32(params), options=options)

    def claim(self, count: int, dispatcher: str = "a") -> list[Claimed]:
        """The next tasks, asked for twice, as after a cut reply."""
        claim_id = str(self.chance.random())
        first = self.store.claim(dispatcher, claim_id, [Share(WORKER, count, 0.0)], {}, 1 << 30).tasks
        again = self.store.claim(dispatcher, claim_id, [Share(WORKER, count, 0.0)], {}, 1 << 30).tasks
        assert not first or [task.task_id for task in again] == [task.task_id for task in first]
        return first

    def hurt_records(self, ids: list[TaskId], count: int) -> None:
        """Damage a field each of so many of these."""
        for task_id in self.chance.sample(ids, min(count, len(ids))):
            if task_id not in self.hurt:
                self.hurt_field(keys.task(task_id))
                self.hurt.add(task_id)

    def hurt_field(self, key: str) -> None:
        """Damage one field of a hash, or delete it."""
        fields = self.client.hgetall(key)
        name = self.chance.choice(sorted(fields))
        value = damaged(self.chance, fields[name])
        if value is None:
            self.client.hdel(key, name)
        else:
            self.client.hset(key, name, value)

    def end(self, tasks: list[Claimed] | list[Held], dispatcher: str = "a") -> None:
        """All of these end: those that were left alone with a value, the others in any way that there is."""
        endings = [self._ending(task) if task.task_id in self.hurt else self._value(task) for task in tasks]
        self.store.settle(dispatcher, endings)
        self.store.settle(dispatcher, endings)

    def _value(self, task: Claimed | Held) -> Settlement:
        value = self.params[task.task_id]
        outcome = Outcome(task.task_id, task.attempt, value, checksum=crc32(value))
        return Settlement(task.task_id, task.attempt, Move.SUCCEED, task.worker, outcome)

    def _ending(self, task: Claimed | Held) -> Settlement:
        oom = failure(task, Move.OOM, FailureKind.OOM)
        return self.chance.choice([success(task), failure(task), crash(task), lost(task), given_back(task), oom])

    def run_dry(self, dispatcher: str = "a") -> None:
        """Promote, claim and end until nothing is left to be done."""
        for _ in range(60):
            _, next_s = self.store.promote()
            tasks = self.claim(500, dispatcher)
            self.end(tasks, dispatcher)
            waits = self.client.zcard(keys.SCHEDULED)
            if not tasks and not waits and not self.client.llen(keys.QUEUE):
                return
            if waits and not tasks:
                self.hasten()
        raise AssertionError(f"never dry: {self.client.zrange(keys.SCHEDULED, 0, -1, withscores=True)}, {next_s}")

    def hasten(self) -> None:
        """What waits for its time need wait no longer."""
        for name in self.client.zrange(keys.SCHEDULED, 0, -1):
            self.client.zadd(keys.SCHEDULED, {name: 1})

    def cancel(self, ids: list[TaskId]) -> None:
        """Nobody wants these any more."""
        self.ask(lambda gateway: gateway.cancel(ids, 1000.0))

    def read(self, ids: list[TaskId]) -> dict[TaskId, TaskRecord | None]:
        """All of these, as the gateway sees them."""
        return dict(zip(ids, self.ask(lambda gateway: gateway.read(ids, with_result=True)), strict=True))

    def judge(self) -> None:
        """Every task has ended; those that were left alone with their value."""
        ids = list(self.params)
        for task_id, record in self.read(ids).items():
            assert record is not None, task_id
            story = (record, self.client.hgetall(keys.task(task_id)))
            assert record.status in (State.COMPLETED, State.FAILED), story
            if task_id not in self.hurt:
                assert record.value == self.params[task_id], story
            else:
                self.ends[record.failure.kind if record.failure else "completed"] += 1
            assert self.client.ttl(keys.task(task_id)) > 0, story
        assert not self.client.llen(keys.QUEUE)
        assert not self.client.hgetall(keys.leases("a")) | self.client.hgetall(keys.leases("b"))

    def look(self) -> None:
        """Everything that only reads."""
        self.ask(lambda gateway: gateway.counts())
        self.ask(lambda gateway: gateway.workers())
        letters = self.ask(lambda gateway: gateway.letters(100))
        for task_id in letters[:5]:
            self.ask(lambda gateway, name=task_id: gateway.letter(name))  # type: ignore[misc]
        self.ask(lambda gateway: gateway.list_functions(10))
        self.store.drops("a")
        self.store.beat(DISPATCHER, [])


def test_ten_thousand_damaged_records_all_end_and_the_others_end_right(world: World) -> None:
    mutations = 0
    while mutations < MUTATIONS:
        world.clear()
        ids = world.submit(world.register(RETRY), 2 * PER_ROUND)
        if world.chance.random() < 0.5:
            world.hurt_records(ids, PER_ROUND)
        running = world.claim(world.chance.randrange(1, 2 * PER_ROUND))
        if not world.hurt:
            world.hurt_records(ids, PER_ROUND)
        mutations += len(world.hurt)
        world.read(ids)
        world.cancel(sorted(world.hurt)[:3])
        match world.chance.randrange(3):
            case 0:
                world.end(running)
                world.run_dry()
            case 1:  # the dispatcher is started anew, and knows what the store knows
                world.end(world.store.leases("a"))
                world.run_dry()
            case _:  # another one takes its leases over
                world.client.zadd(keys.BEATS, {"a": 1})
                world.store.beat(DispatcherRecord("b", "host", 1, "push", "ipc://x", 1.0), [])
                world.end(world.store.inherit("b", "a"), "b")
                world.run_dry("b")
        world.look()
        world.judge()

    assert world.ends[FailureKind.CORRUPT_PAYLOAD] > MUTATIONS / 3, world.ends


def test_an_ended_record_that_is_damaged_is_shown_as_it_was_or_as_damaged(world: World) -> None:
    """Nearly as damaged: what can not be told from truth, a time for instance, is shown."""
    world.clear()
    ids = world.submit(world.register(), 500)
    world.run_dry()
    truth = world.read(ids)
    raw = {task_id: world.client.hgetall(keys.task(task_id)) for task_id in ids}

    for _ in range(4):
        for task_id in ids:
            world.hurt_field(keys.task(task_id))
        for task_id, record in world.read(ids).items():
            known = truth[task_id]
            assert record is not None
            assert known is not None
            is_told = record.failure is not None and record.failure.kind is FailureKind.CORRUPT_PAYLOAD
            assert is_told or record.value in (None, known.value), record
        for task_id in ids:
            world.client.delete(keys.task(task_id))
            world.client.hset(keys.task(task_id), mapping=raw[task_id])


def hurt_shared(world: World, function: FunctionId) -> str:
    """Damage something that is no task's record; where."""
    chance, client = world.chance, world.client
    noise = damaged(chance, uuid.uuid4().hex.encode()) or b"\xff"
    where = chance.choice(["hash", "facts", "queue", "scores", "drops", "blobs", "leases", "official"])
    match where:
        case "hash":
            hashes = [keys.COUNTERS, "{regrow}:open", keys.claim("a")]
            world.hurt_field(chance.choice([key for key in hashes if client.exists(key)]))
        case "facts":
            world.hurt_field(keys.function_facts(function))
        case "queue":
            chance.choice([client.lpush, client.rpush])(keys.QUEUE, noise)
        case "scores":
            timers = [keys.SCHEDULED, "{regrow}:deadlines", keys.DEAD, keys.BEATS, keys.FUNCTIONS, keys.FUNCTION_TIMERS]
            client.zadd(chance.choice(timers), {noise: chance.choice([0, 1, -1e300, 1e300])})
        case "drops":
            client.sadd(keys.drops("a"), noise)
        case "blobs":
            client.hset(keys.DISPATCHERS, chance.choice([b"a", noise]), noise)
            client.set(keys.workers("a"), noise)
        case "leases":
            held = client.hkeys(keys.leases("a"))
            client.hset(keys.leases("a"), chance.choice([*held, noise]), noise)
        case _:
            client.set(keys.function(function), noise)
    return where


def test_what_all_tasks_share_may_be_damaged_and_every_task_still_ends_right(world: World) -> None:
    for number in range(250):
        world.clear()
        function, victim = world.register(RETRY), world.register()
        world.store.beat(DISPATCHER, [])
        ids = world.submit(function, 12)
        running = world.claim(5)
        damage = [hurt_shared(world, victim) for _ in range(4)]

        world.look()
        if number % 2:
            world.end(running)
        else:
            world.end([held for held in world.store.leases("a") if held.task_id in world.params])
        ids += submit_again(world, victim, "facts" in damage)
        world.client.zadd(keys.BEATS, {"a": 1})
        world.end(world.store.inherit("b", "a"), "b")
        world.run_dry("b")
        world.look()

        assert [world.read(ids)[task_id].value for task_id in ids] == [world.params[task_id] for task_id in ids], damage  # type: ignore[union-attr]


def submit_again(world: World, victim: FunctionId, is_hurt: bool) -> list[TaskId]:
    """A task of the function whose facts may be damaged: refused, or as good as any."""
    new = NewTask(TaskId(str(uuid.uuid4())), victim, b"p", checksum=crc32(b"p"))
    (verdict,) = world.ask(lambda gateway: gateway.submit([new], 1_000_000))
    refusals = (SubmitVerdict.DAMAGED_FUNCTION, SubmitVerdict.UNKNOWN_FUNCTION)
    assert verdict in refusals if is_hurt else verdict is SubmitVerdict.ACCEPTED, verdict
    if verdict is SubmitVerdict.ACCEPTED:
        world.params[new.task_id] = b"p"
        return [new.task_id]
    return []
