"""Tasks that nobody has, by damage of the queue, the timers or the leases, are found and put back; nothing else is touched.

The searches here are those of a dispatcher's core, on a real store, one exchange after the other; what else happens to the store
happens between the exchanges.
"""

import random
import uuid
from collections.abc import Callable, Iterator

import pytest
import redis

from regrow.actors import keys, suspects
from regrow.actors.records import Held
from regrow.actors.store import Store
from regrow.actors.suspects import Mended, Signs
from regrow.actors.task import FailureKind, FunctionId, Move, Settlement, State, TaskId, Verdict
from support.searching import Searcher, pulse, searched
from support.tasks import ask, claim, crash, failure, given_back, lost, read, register, submit, success
from support.valkey import Valkey

NOBODY = b"\xffno task has this id"
SIGNS = Signs(0, 0)


@pytest.fixture
def function(server: Valkey) -> FunctionId:
    return register(server.url)


@pytest.fixture
def client(server: Valkey) -> Iterator[redis.Redis]:
    with server.client() as client:
        yield client


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many steps for few tasks."""
    monkeypatch.setattr(suspects, "PAGE_KEYS", 4)
    for place in ("regrow.actors.suspects", "regrow.actors.search"):
        monkeypatch.setattr(f"{place}.WALK_IDS", 4)
    monkeypatch.setattr("regrow.actors.search.MEND_TASKS", 2)
    monkeypatch.setattr("regrow.actors.search.MOST_SUSPECTS", 9)


def fall_silent(client: redis.Redis, dispatcher: str) -> None:
    """It has died a while ago."""
    client.zadd(keys.BEATS, {dispatcher: 1}, xx=True)


def counter(client: redis.Redis, name: str) -> int:
    return int(client.hget(keys.COUNTERS, name) or 0)


def queued(client: redis.Redis) -> list[bytes]:
    return client.lrange(keys.QUEUE, 0, -1)


def hurt_in_queue(client: redis.Redis, at: int) -> None:
    """An id in the queue is damaged."""
    client.lset(keys.QUEUE, at, NOBODY)


# The signs


def test_where_all_is_well_no_search_is_due(
    server: Valkey, store: Store, function: FunctionId, client: redis.Redis
) -> None:
    submit(server.url, function, b"1", b"2", b"3", b"4")
    later = submit(server.url, function, b"5", b"6", delay_s=1000.0)
    ended, *_ = claim(store, 2)
    store.settle("a", [success(ended)])
    ask(server.url, lambda gateway: gateway.cancel([later[0], TaskId(queued(client)[0].decode())], 1000.0))

    assert pulse(store).signs is None
    assert ask(server.url, lambda gateway: gateway.missing()) == (0, 0)


def test_an_id_without_a_record_in_the_queue_is_a_sign_once_it_is_met(
    server: Valkey, store: Store, function: FunctionId, client: redis.Redis
) -> None:
    submit(server.url, function, b"1")
    hurt_in_queue(client, 0)
    assert pulse(store).signs is None, "it waits, like every other"

    assert claim(store, 1) == []

    assert pulse(store).signs == Signs(vanished=1, missing=1)


@pytest.mark.parametrize("gone", [keys.QUEUE, keys.SCHEDULED, keys.leases("a")])
def test_whatever_is_gone_from_queue_timers_or_leases_is_a_sign(
    server: Valkey, store: Store, function: FunctionId, client: redis.Redis, gone: str
) -> None:
    submit(server.url, function, b"1", b"2")
    submit(server.url, function, b"3", delay_s=1000.0)
    claim(store, 1)
    assert pulse(store).signs is None

    client.delete(gone)

    assert pulse(store).signs == Signs(vanished=0, missing=1)
    assert ask(server.url, lambda gateway: gateway.missing()) == (1, 0)


def test_one_dispatcher_searches_at_a_time_and_another_goes_on_when_it_is_gone(
    server: Valkey, store: Store, function: FunctionId, client: redis.Redis
) -> None:
    submit(server.url, function, b"1")
    client.delete(keys.QUEUE)

    assert pulse(store, "a").signs
    assert pulse(store, "b").signs is None
    assert pulse(store, "a").signs, "it is told again, until it is done"

    client.hset("{regrow}:search", "until", 1)  # it has said nothing for a while
    assert pulse(store, "b").signs
    assert pulse(store, "a").signs is None
    searched(store, "b", Signs(0, 1))
    assert pulse(store, "a").signs is None


def test_what_no_search_can_find_leads_to_one_search_only(
    server: Valkey, store: Store, function: FunctionId, client: redis.Redis
) -> None:
    ids = submit(server.url, function, b"1", b"2")
    client.delete(keys.task(ids[0]))
    claim(store, 2)
    signs = pulse(store).signs
    assert signs == Signs(vanished=1, missing=1)

    told = searched(store, signs=signs)
    client.hset("{regrow}:search", "not_before", 0)

    assert (told["queued"], told["leased"], told["condemned"]) == (0, 0, 0)
    assert pulse(store).signs is None
    assert ask(server.url, lambda gateway: gateway.missing()) == (1, 1)
    client.hdel(keys.leases("a"), ids[1])
    assert pulse(store).signs == Signs(vanished=1, missing=2), "and the next damage to another one"


def test_after_a_search_there_is_a_rest(
    server: Valkey, store: Store, function: FunctionId, client: redis.Redis
) -> None:
    submit(server.url, function, b"1")
    client.delete(keys.QUEUE)
    searcher = Searcher(store)
    searcher.begin(SIGNS)
    searcher.run(lambda: setattr(searcher, "now", searcher.now + 100.0))

    client.delete(keys.QUEUE)
    assert pulse(store).signs is None

    client.hset("{regrow}:search", "not_before", 1)
    assert pulse(store).signs


@pytest.mark.parametrize("field", ["vanished", "missing", "not_before", "by", "until"])
def test_a_damaged_note_of_searches_keeps_none_from_beginning(
    server: Valkey, store: Store, function: FunctionId, client: redis.Redis, field: str
) -> None:
    submit(server.url, function, b"1")
    for value in ("", "x", "99999999999999", "1e300", "-1"):
        client.hset("{regrow}:search", field, value)
        pulse(store)
        client.delete(keys.QUEUE)
        signs = pulse(store).signs or pulse(store).signs
        assert signs, value
        searched(store, signs=signs)
        assert len(queued(client)) == 1
        client.delete("{regrow}:search")


# What is found


def test_a_task_whose_id_was_damaged_in_the_queue_is_queued_again_at_the_front(
    server: Valkey, store: Store, function: FunctionId, client: redis.Redis
) -> None:
    ids = submit(server.url, function, b"1", b"2", b"3")
    hurt_in_queue(client, 0)
    [second] = claim(store, 1)
    assert second.task_id == ids[1]

    told = searched(store, signs=pulse(store).signs)

    assert (told["tasks"], told["queued"], told["leased"], told["condemned"]) == (3, 1, 0, 0)
    first, third = claim(store, 5)
    assert [first.task_id, third.task_id] == [ids[0], ids[2]]
    store.settle("a", [success(task) for task in (first, second, third)])
    assert {record.status for record in read(server.url, *ids)} == {State.COMPLETED}
    assert counter(client, "found:queued") == 1
    assert pulse(store).signs is None


def test_a_task_whose_id_was_damaged_among_the_timers_is_queued_when_its_time_has_come(
    server: Valkey, store: Store, function: FunctionId, client: redis.Redis
) -> None:
    [task_id] = submit(server.url, function, b"1", delay_s=1000.0)
    client.delete(keys.SCHEDULED)
    client.zadd(keys.SCHEDULED, {NOBODY: 1})
    assert pulse(store).signs is None

    store.promote()
    signs = pulse(store).signs

    assert signs == Signs(vanished=1, missing=1)
    assert searched(store, signs=signs)["queued"] == 1
    assert [task.task_id for task in claim(store, 1)] == [task_id]


def test_a_lease_that_is_gone_is_put_back_and_its_dispatcher_is_told_once(
    server: Valkey, store: Store, function: FunctionId, client: redis.Redis
) -> None:
    ids = submit(server.url, function, b"1", b"2")
    running = claim(store, 2)
    client.hdel(keys.leases("a"), ids[0])

    assert searched(store, "b", pulse(store, "b").signs)["leased"] == 1

    assert not pulse(store, "b").has_leases_back
    assert [pulse(store).has_leases_back, pulse(store).has_leases_back] == [True, False]
    assert {held.task_id: held.worker for held in store.leases("a")} == {ids[0]: "", ids[1]: running[1].worker}
    assert store.settle("a", [success(task) for task in running]) == [Verdict.STORED] * 2, "it was running after all"
    assert counter(client, "found:leased") == 1


@pytest.mark.parametrize("is_known", [True, False])
def test_a_lease_that_is_gone_with_its_dispatcher_becomes_that_of_the_one_who_searches(
    server: Valkey, store: Store, function: FunctionId, client: redis.Redis, is_known: bool
) -> None:
    [task_id] = submit(server.url, function, b"1")
    [running] = claim(store, 1)
    client.delete(keys.leases("a"))
    fall_silent(client, "a")
    if not is_known:
        client.zrem(keys.BEATS, "a")

    assert searched(store, "b", pulse(store, "b").signs)["leased"] == 1

    assert pulse(store, "b").has_leases_back
    [held] = store.leases("b")
    assert store.settle("a", [success(running)]) == [Verdict.STALE], "as after every inheritance"
    assert store.settle("b", [lost(held)]) == [Verdict.REQUEUED]
    assert client.hget(keys.task(task_id), "lost") is None, "no worker was lost"
    [again] = claim(store, 1, "b")
    assert (again.task_id, again.attempt) == (task_id, 2)


def test_leases_of_a_dispatcher_that_nobody_knows_are_taken_over(
    server: Valkey, store: Store, function: FunctionId, client: redis.Redis
) -> None:
    """Its sign of life is damaged, and it never comes back to mend it."""
    ids = submit(server.url, function, b"1", b"2")
    claim(store, 2)
    client.delete(keys.BEATS)
    client.zadd(keys.BEATS, {NOBODY: 1})

    assert searched(store, "b", pulse(store, "b").signs)["leased"] == 2

    assert {held.task_id for held in store.leases("b")} == set(ids)
    assert not client.exists(keys.leases("a"))


def test_a_task_that_must_not_start_twice_does_not(
    server: Valkey, store: Store, function: FunctionId, client: redis.Redis
) -> None:
    [task_id] = submit(server.url, function, b"1", max_attempts=1)
    claim(store, 1)
    client.delete(keys.leases("a"))
    searched(store, signs=pulse(store).signs)

    [held] = store.leases("a")
    store.settle("a", [lost(held)])

    [record] = read(server.url, task_id)
    assert record.failure is not None
    assert record.failure.kind is FailureKind.WORKER_LOST


@pytest.mark.parametrize(("field", "value"), [("digest", "x"), ("status", "QUEUEX"), ("attempt", "-1"), ("seal", "0")])
@pytest.mark.parametrize("is_running", [True, False])
def test_what_nobody_has_and_is_damaged_besides_ends(
    server: Valkey, store: Store, function: FunctionId, client: redis.Redis, field: str, value: str, is_running: bool
) -> None:
    [task_id] = submit(server.url, function, b"1")
    if is_running:
        claim(store, 1)
    client.delete(keys.QUEUE, keys.leases("a"))
    client.hset(keys.task(task_id), field, value)

    assert searched(store, signs=pulse(store).signs)["condemned"] == 1

    [record] = read(server.url, task_id)
    assert record.failure is not None
    assert record.failure.kind is FailureKind.CORRUPT_PAYLOAD
    assert counter(client, "damaged_records_total") == 1
    assert searched(store)["condemned"] == 0


def test_a_record_that_is_something_else_and_is_in_no_queue_ends(
    server: Valkey, store: Store, function: FunctionId, client: redis.Redis
) -> None:
    [task_id] = submit(server.url, function, b"1")
    client.delete(keys.QUEUE, keys.task(task_id))
    client.set(keys.task(task_id), "what")

    assert searched(store, signs=pulse(store).signs)["condemned"] == 1

    [record] = read(server.url, task_id)
    assert record.status is State.FAILED


def test_at_its_memory_limit_the_store_puts_back_all_the_same(
    server: Valkey, store: Store, function: FunctionId, client: redis.Redis
) -> None:
    submit(server.url, function, b"1", b"2")
    claim(store, 1)
    client.delete(keys.QUEUE, keys.leases("a"))
    client.config_set("maxmemory", 1)

    told = searched(store, signs=pulse(store).signs)

    assert (told["queued"], told["leased"]) == (1, 1)


# What is left alone

MOVED: dict[str, Callable[["Moving"], object]] = {
    "claimed": lambda it: claim(it.store, 1, "b"),
    "claimed and given back": lambda it: it.settle(given_back),
    "claimed and lost": lambda it: it.settle(lost),
    "claimed and crashed": lambda it: it.settle(crash),
    "ended": lambda it: it.settle(success),
    "failed": lambda it: it.settle(failure),
    "killed for memory": lambda it: it.settle(lambda task: failure(task, Move.OOM, FailureKind.OOM)),
    "cancelled": lambda it: ask(it.url, lambda gateway: gateway.cancel([it.task_id], 1000.0)),
    "gone": lambda it: it.client.delete(keys.task(it.task_id)),
}


class Moving:
    """A task that moves while it is searched for: it was seen in no queue, since that was empty for a moment."""

    def __init__(self, server: Valkey, store: Store, client: redis.Redis, task_id: TaskId) -> None:
        self.url, self.store, self.client, self.task_id = server.url, store, client, task_id

    def settle(self, ending: Callable[..., object]) -> None:
        self.store.settle("b", [ending(task) for task in claim(self.store, 1, "b")])  # type: ignore[misc]


@pytest.mark.parametrize("moved", MOVED.values(), ids=MOVED.keys())
def test_a_suspect_that_has_moved_since_it_was_seen_is_left_alone(
    server: Valkey, store: Store, function: FunctionId, client: redis.Redis, moved: Callable[[Moving], object]
) -> None:
    [task_id] = submit(server.url, function, b"1")
    page = store.scan(suspects.START)
    assert page.suspects == {task_id: b"QUEUED 0"}

    moved(Moving(server, store, client, task_id))
    places = (queued(client), client.hgetall(keys.leases("b")), client.hgetall(keys.task(task_id)))

    assert store.mend("a", page.suspects, None) == Mended()
    assert (queued(client), client.hgetall(keys.leases("b")), client.hgetall(keys.task(task_id))) == places
    assert not client.exists(keys.leases("a"))


@pytest.mark.parametrize("ending", [success, failure, lost, given_back, crash])
def test_a_running_suspect_that_ends_before_it_is_mended_is_left_alone(
    server: Valkey, store: Store, function: FunctionId, client: redis.Redis, ending: Callable[..., object]
) -> None:
    [task_id] = submit(server.url, function, b"1")
    [running] = claim(store, 1)
    client.delete(keys.leases("a"))
    page = store.scan(suspects.START)
    assert page.suspects == {task_id: b"RUNNING 1"}

    store.settle("a", [ending(running)])  # type: ignore[list-item]
    record = client.hgetall(keys.task(task_id))

    assert store.mend("b", page.suspects, None) == Mended()
    assert client.hgetall(keys.task(task_id)) == record


def test_a_lease_that_another_dispatcher_has_is_left_to_it(
    server: Valkey, store: Store, function: FunctionId, client: redis.Redis
) -> None:
    """It is the record's owner that is damaged, and the settlement tells."""
    [task_id] = submit(server.url, function, b"1")
    [running] = claim(store, 1)
    client.hset(keys.task(task_id), "owner", "nobody")

    assert searched(store, "b")["leased"] == 0

    store.settle("a", [success(running)])
    [record] = read(server.url, task_id)
    assert record.failure is not None
    assert record.failure.kind is FailureKind.CORRUPT_PAYLOAD


def test_what_has_ended_is_left_alone_whatever_its_status_says(
    server: Valkey, store: Store, function: FunctionId, client: redis.Redis
) -> None:
    ids = submit(server.url, function, b"1", b"2", b"3")
    store.settle("a", [success(task) for task in claim(store, 3)])
    for task_id, status in zip(ids, ("QUEUED", "RUNNING", "x"), strict=True):
        client.hset(keys.task(task_id), "status", status)

    told = searched(store)

    assert (told["tasks"], told["queued"], told["leased"], told["condemned"]) == (3, 0, 0, 0)
    seen = {ids[0]: b"QUEUED 1", ids[1]: b"RUNNING 1", ids[2]: b"x 1"}  # a moment before they ended
    assert store.mend("a", seen, None) == Mended()


class Traffic:
    """Everything that can happen to a healthy store, at random; no task ends as damaged."""

    def __init__(self, server: Valkey, store: Store, function: FunctionId, client: redis.Redis, seed: int) -> None:
        self.server, self.store, self.function, self.client = server, store, function, client
        self.chance = random.Random(seed)
        self.ids: list[TaskId] = []

    def happen(self) -> None:
        """One thing."""
        dispatcher = self.chance.choice("ab")
        match self.chance.randrange(7):
            case 0 | 1 if self.client.llen(keys.QUEUE) < 30:
                self.submit(self.chance.randrange(1, 8))
            case 2 | 3:
                claim(self.store, self.chance.randrange(1, 6), dispatcher)
            case 4:
                self.settle(dispatcher)
            case 5:
                self.cancel()
            case _:
                self.hasten()

    def submit(self, count: int) -> None:
        delay_s = self.chance.choice([None, None, 1000.0])
        self.ids += submit(self.server.url, self.function, *(uuid.uuid4().bytes for _ in range(count)), delay_s=delay_s)

    def settle(self, dispatcher: str) -> None:
        endings = (success, success, lost, given_back, lambda task: failure(task, Move.OOM, FailureKind.OOM))
        leases = self.store.leases(dispatcher)
        some = self.chance.sample(leases, self.chance.randint(0, len(leases)))
        self.store.settle(dispatcher, [self.chance.choice(endings)(held) for held in some])

    def cancel(self) -> None:
        some = self.chance.sample(self.ids, min(2, len(self.ids)))
        ask(self.server.url, lambda gateway: gateway.cancel(some, 1000.0))

    def hasten(self) -> None:
        """What waits for its time need wait no longer; or a dispatcher is silent, and the other takes its leases over."""
        if self.chance.random() < 0.5:
            for name in self.client.zrange(keys.SCHEDULED, 0, -1):
                self.client.zadd(keys.SCHEDULED, {name: 1})
            self.store.promote()
        else:
            fall_silent(self.client, "b")
            self.store.inherit("a", "b")

    def run_dry(self) -> None:
        """All that is left ends."""
        self.store.settle("b", [success(held) for held in self.store.leases("b")])
        for _ in range(100):
            self.store.settle("a", [success(held) for held in self.store.leases("a")])
            for name in self.client.zrange(keys.SCHEDULED, 0, -1):
                self.client.zadd(keys.SCHEDULED, {name: 1})
            self.store.promote()
            if not claim(self.store, 100) and not self.client.zcard(keys.SCHEDULED):
                break


@pytest.mark.parametrize("seed", range(4))
def test_a_search_beside_ordinary_traffic_finds_nothing_and_changes_nothing(
    server: Valkey, store: Store, function: FunctionId, client: redis.Redis, small_pages: None, seed: int
) -> None:
    traffic = Traffic(server, store, function, client, seed)
    traffic.submit(20)
    steps = 0
    while steps < 800:
        searcher = Searcher(store, traffic.chance.choice("ab"))
        searcher.begin(SIGNS)

        def beside() -> None:
            for _ in range(traffic.chance.randrange(4)):
                traffic.happen()
            assert pulse(store, "c").signs is None

        told = searcher.run(beside)
        steps += len(searcher.steps)
        assert (told.fields["queued"], told.fields["leased"], told.fields["condemned"]) == (0, 0, 0)
        entries = [
            entry for entry in queued(client) if client.hget(keys.task(TaskId(entry.decode())), "status") == b"QUEUED"
        ]
        assert len(entries) == len(set(entries)), "in the queue once"

    traffic.run_dry()
    for record in read(server.url, *traffic.ids):
        kind = record.failure and record.failure.kind
        assert kind in (None, FailureKind.CANCELLED, FailureKind.OOM, FailureKind.WORKER_LOST), record
        assert record.status in (State.COMPLETED, State.FAILED), record
    totals = {name.decode(): int(number) for name, number in client.hgetall(keys.COUNTERS).items()}
    ended = sum(number for name, number in totals.items() if name == "completed" or name.startswith("failed:"))
    assert totals["submitted"] == ended == len(traffic.ids)
    assert not {"found:queued", "found:leased", "damaged_records_total", "vanished"} & set(totals)


# Whatever happens


def test_a_search_that_is_broken_off_anywhere_is_made_good_by_the_next_one(
    server: Valkey, store: Store, function: FunctionId, client: redis.Redis, small_pages: None
) -> None:
    breaks = 0
    while True:
        client.flushall()
        function = register(server.url)
        ids = submit(server.url, function, *(b"%d" % number for number in range(20)))
        claim(store, 6)
        client.hdel(keys.leases("a"), *ids[:3])
        for at in (1, 5, 6):
            hurt_in_queue(client, at)
        fall_silent(client, "a")
        signs = pulse(store, "b").signs
        assert signs is not None
        first = Searcher(store, "b")
        first.begin(signs)
        if not all(first.step() for _ in range(breaks)):
            break
        breaks += 1

        second = Searcher(store, "c")
        second.begin(signs)
        second.run()

        ends(store, client, ("a", "b", "c"))
        assert {record.status for record in read(server.url, *ids)} == {State.COMPLETED}, breaks
        assert counter(client, "completed") == len(ids)
    assert breaks > 15


def ends(store: Store, client: redis.Redis, dispatchers: tuple[str, ...]) -> None:
    """Every task that anybody has ends with a value, and then those that are searched for, until nothing is missing."""
    for _ in range(20):
        for dispatcher in dispatchers:
            store.settle(dispatcher, [success(held) for held in store.leases(dispatcher)])
        store.promote()
        taken = claim(store, 100, dispatchers[0])
        client.hset("{regrow}:search", "not_before", 0)
        client.hdel("{regrow}:search", "until")
        signs = pulse(store, dispatchers[0]).signs
        if signs is not None:
            searched(store, dispatchers[0], signs)
        elif not taken and not any(store.leases(dispatcher) for dispatcher in dispatchers):
            return
    raise AssertionError("there is no end")


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_lost_from_queue_timers_and_leases_every_task_ends_once(
    server: Valkey, store: Store, function: FunctionId, client: redis.Redis, small_pages: None, seed: int
) -> None:
    chance = random.Random(seed)
    values = {}
    hurt: set[TaskId] = set()
    for _ in range(12):
        delay_s = chance.choice([None, None, 0.001])
        params = [uuid.UUID(int=chance.getrandbits(128)).bytes for _ in range(chance.randrange(1, 9))]
        values |= dict(zip(submit(server.url, function, *params, delay_s=delay_s), params, strict=True))
        store.promote()
        claim(store, chance.randrange(8), chance.choice("ab"))
        for _ in range(chance.randrange(4)):
            lose(chance, client, hurt)
        if chance.random() < 0.3:
            fall_silent(client, chance.choice("ab"))
        if chance.random() < 0.5:
            searched(store, chance.choice("ab"), SIGNS)
        some = [held for held in store.leases("a") if held.task_id in values]
        store.settle("a", [ending_of(held, values, chance) for held in some])

    finish(store, client, values)

    records = {record.task_id: record for record in read(server.url, *values)}
    for task_id, record in records.items():
        story = (record, client.hgetall(keys.task(task_id)))
        if record.status is State.COMPLETED:
            assert record.value == values[task_id], story
        else:
            assert record.failure is not None
            assert record.failure.kind is FailureKind.CORRUPT_PAYLOAD, story
            assert task_id in hurt, story
    assert counter(client, "completed") + counter(client, "failed:corrupt_payload") == len(values)
    assert counter(client, "found:queued") + counter(client, "found:leased") > 0


def lose(chance: random.Random, client: redis.Redis, hurt: set[TaskId]) -> None:
    """Something that says where a task is, is damaged or gone; now and then a record too."""
    waiting, timers = queued(client), client.zrange(keys.SCHEDULED, 0, -1)
    running = client.hkeys(keys.leases("a")) + client.hkeys(keys.leases("b"))
    noise = chance.randbytes(9)
    match chance.randrange(7):
        case 0 | 1 if waiting:
            client.lset(keys.QUEUE, chance.randrange(len(waiting)), noise)
        case 2 if waiting:
            client.lrem(keys.QUEUE, 1, chance.choice(waiting))
        case 3 if timers:
            client.zrem(keys.SCHEDULED, chance.choice(timers))
            client.zadd(keys.SCHEDULED, {noise: 1})
        case 4 | 5 if running:
            name = chance.choice(running)
            for dispatcher in "ab":
                if client.hdel(keys.leases(dispatcher), name) and chance.random() < 0.3:
                    client.hset(keys.leases(dispatcher), noise, 1)
        case 6 if waiting:
            hurt_both(client, chance.randrange(len(waiting)), noise, hurt)


def hurt_both(client: redis.Redis, at: int, noise: bytes, hurt: set[TaskId]) -> None:
    """An id in the queue, and the record that it stood for."""
    key = b"{regrow}:task:" + queued(client)[at]
    if client.hget(key, "status") == b"QUEUED":
        hurt.add(TaskId(queued(client)[at].decode()))
        client.lset(keys.QUEUE, at, noise)
        client.hset(key, "digest", noise)


def ending_of(held: Held, values: dict[TaskId, bytes], chance: random.Random) -> Settlement:
    """With its own value, or it is to run again."""
    return success(held, values[held.task_id]) if chance.random() < 0.6 else chance.choice([lost, given_back])(held)


def finish(store: Store, client: redis.Redis, values: dict[TaskId, bytes]) -> None:
    """No more damage: searches as they come due, until every task has ended."""

    def end_all(dispatcher: str) -> int:
        leases = store.leases(dispatcher)
        store.settle(dispatcher, [success(held, values.get(held.task_id, b"")) for held in leases])
        return len(leases)

    for _ in range(30):
        client.hset("{regrow}:search", "not_before", 0)
        signs = pulse(store).signs
        if signs is not None:
            searched(store, "a", signs)
        for name in client.zrange(keys.SCHEDULED, 0, -1):
            client.zadd(keys.SCHEDULED, {name: 1})
        store.promote()
        taken = claim(store, 100)
        if not end_all("a") + end_all("b") + len(taken) and signs is None:
            return
    raise AssertionError("there is no end")
