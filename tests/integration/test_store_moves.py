"""The store's later moves: what is delayed, tried again, expired, cancelled, buried and forgotten, each atomically."""

import asyncio
import time
import uuid
from collections.abc import Callable

import pytest

from regrow.actors import keys
from regrow.actors.astore import AsyncStore
from regrow.actors.claims import Share
from regrow.actors.function import digest_of
from regrow.actors.limits import Limits, Options, Retry, Terms
from regrow.actors.readings import Letter
from regrow.actors.records import CancelVerdict, SubmitVerdict
from regrow.actors.store import Store
from regrow.actors.task import (
    Claimed,
    Drop,
    Failure,
    FailureKind,
    FunctionId,
    FunctionRecord,
    Move,
    NewTask,
    Outcome,
    Settlement,
    State,
    TaskId,
    Verdict,
)
from support.tasks import WORKER, ask, claim, crash, failure, lost, read, register, submit, success
from support.valkey import Valkey
from support.waiting import wait_until

DAY = 86_400.0


def function(url: str, code: bytes = b"code", **fields: object) -> FunctionId:
    """A new function with terms of its own."""
    name = FunctionId(str(uuid.uuid4()))
    record = FunctionRecord(name, "f", "Y29kZQ==", digest_of(code), len(code), time.time(), **fields)  # type: ignore[arg-type]
    ask(url, lambda store: store.put_function(record, code))
    return name


def one(url: str, callee: FunctionId, max_attempts: int | None = None, **options: object) -> TaskId:
    """A new task's id."""
    task_id = TaskId(str(uuid.uuid4()))
    new = NewTask(task_id, callee, b"params", max_attempts, options=Options(**options))  # type: ignore[arg-type]
    assert ask(url, lambda store: store.submit([new], 100)) == [SubmitVerdict.ACCEPTED]
    return task_id


def cancel(url: str, *ids: TaskId) -> None:
    ask(url, lambda store: store.cancel(ids, DAY))


def raised(task: Claimed, *types: str) -> Settlement:
    found = Failure(FailureKind.RAISED, types[0], "no", exception=b"\x80\x04", types=types)
    return Settlement(
        task.task_id, task.attempt, Move.FAIL, task.worker, Outcome(task.task_id, task.attempt, failure=found)
    )


def starved(task: Claimed) -> Settlement:
    found = Outcome(task.task_id, task.attempt, failure=Failure(FailureKind.OOM, "Oom", "no memory"), is_victim=True)
    return Settlement(task.task_id, task.attempt, Move.OOM, task.worker, found)


def due_in(server: Valkey, task_id: TaskId) -> float:
    """Seconds until it is to be queued, by the store."""
    with server.client() as client:
        seconds, micros = client.time()
        return float(client.zscore(keys.SCHEDULED, task_id)) / 1000 - seconds - micros / 1e6


def make_due(server: Valkey, timers: str, name: str) -> None:
    with server.client() as client:
        assert client.zscore(timers, name) is not None
        client.zadd(timers, {name: 1})


# Delays


def test_a_delayed_task_is_queued_when_its_time_has_come_and_not_before(server: Valkey, store: Store) -> None:
    task_id = one(server.url, register(server.url), delay_s=0.3)

    assert claim(store, 1) == []
    moved, next_s = store.promote()
    assert (moved, next_s) == (0, pytest.approx(0.3, abs=0.3))
    assert read(server.url, task_id)[0].status is State.QUEUED

    wait_until(lambda: store.promote()[0], 5, "its time has come")
    assert [task.task_id for task in claim(store, 1)] == [task_id]
    assert store.promote() == (0, None)


def test_scheduled_tasks_count_as_queued_for_the_bound_and_are_counted_apart(server: Valkey) -> None:
    callee = register(server.url)
    one(server.url, callee, delay_s=60)
    new = [NewTask(TaskId(str(uuid.uuid4())), callee, b"") for _ in range(2)]

    verdicts = ask(server.url, lambda store: store.submit(new, 2))

    assert verdicts == [SubmitVerdict.ACCEPTED, SubmitVerdict.QUEUE_FULL]
    counts = ask(server.url, AsyncStore.counts)
    assert (counts.queued, counts.scheduled) == (1, 1)


# Retries


def test_a_task_that_raised_is_tried_again_after_growing_delays_and_then_fails(server: Valkey, store: Store) -> None:
    callee = function(server.url, terms=Terms(retry=Retry(count=2, backoff_s=10, factor=3, jitter=0)))
    task_id = submit(server.url, callee, b"params")[0]

    for expected_s in (10, 30):
        (task,) = claim(store, 1)
        assert store.settle("a", [raised(task, "ValueError", "Exception")]) == [Verdict.REQUEUED]
        assert store.settle("a", [raised(task, "ValueError", "Exception")]) == [Verdict.REQUEUED], (
            "the same, told twice"
        )
        assert due_in(server, task_id) == pytest.approx(expected_s, abs=2)
        make_due(server, keys.SCHEDULED, task_id)
        assert store.promote()[0] == 1
    (task,) = claim(store, 1)
    assert store.settle("a", [raised(task, "ValueError")]) == [Verdict.STORED]

    (record,) = read(server.url, task_id)
    assert record.failure is not None
    assert (record.status, record.failure.kind) == (State.FAILED, FailureKind.RAISED)
    assert [attempt.outcome for attempt in record.attempts] == ["raised"] * 3
    assert ask(server.url, lambda store: store.letters(10)) == [task_id]


@pytest.mark.parametrize(
    ("retry", "types", "is_tried"),
    [
        (Retry(1), ["ValueError"], True),
        (Retry(1, retry_on=("ValueError",)), ["ValueError", "Exception"], True),
        (Retry(1, retry_on=("LookupError",)), ["KeyError", "LookupError"], True),
        (Retry(1, retry_on=("TimeoutError",)), ["requests.exceptions.Timeout", "OSError"], False),
        (Retry(1, retry_on=("Timeout",)), ["requests.exceptions.Timeout", "OSError"], True),
        (Retry(1, retry_on=("OSError",), dont_retry=("Timeout",)), ["requests.exceptions.Timeout", "OSError"], False),
        (Retry(1, dont_retry=("ValueError",)), ["ValueError"], False),
        (Retry(0), ["ValueError"], False),
    ],
)
def test_a_policy_says_which_exceptions_are_tried_again(
    server: Valkey, store: Store, retry: Retry, types: list[str], is_tried: bool
) -> None:
    submit(server.url, function(server.url, terms=Terms(retry=retry)), b"")
    (task,) = claim(store, 1)

    assert store.settle("a", [raised(task, *types)]) == [Verdict.REQUEUED if is_tried else Verdict.STORED]


def test_jitter_spreads_the_delays(server: Valkey, store: Store) -> None:
    ids = submit(server.url, function(server.url, terms=Terms(retry=Retry(1, backoff_s=100, jitter=0.5))), *[b""] * 20)

    store.settle("a", [raised(task, "ValueError") for task in claim(store, 20)])

    delays = sorted(due_in(server, task_id) for task_id in ids)
    assert 49 <= delays[0] < delays[-1] <= 151
    assert delays[-1] - delays[0] > 30


def test_budgets_are_kept_apart_by_cause(server: Valkey, store: Store) -> None:
    callee = function(server.url, max_attempts=2, terms=Terms(retry=Retry(1, backoff_s=0)))
    task_id = submit(server.url, callee, b"")[0]

    for end in (crash, lambda task: raised(task, "ValueError"), starved, starved, lost, lost):
        (task,) = claim(store, 1)
        assert store.settle("a", [end(task)]) == [Verdict.REQUEUED], end
        if end not in (crash, lost):
            make_due(server, keys.SCHEDULED, task_id)
            store.promote()
    (task,) = claim(store, 1)
    assert store.settle("a", [success(task)]) == [Verdict.STORED]

    outcomes = [attempt.outcome for attempt in read(server.url, task_id)[0].attempts]
    assert outcomes == ["crashed", "raised", "oom", "oom", "worker_lost", "worker_lost", "completed"]


def test_a_task_that_is_starved_again_and_again_ends_oom(server: Valkey, store: Store) -> None:
    task_id = submit(server.url, register(server.url), b"")[0]

    for verdict in (Verdict.REQUEUED, Verdict.REQUEUED, Verdict.STORED):
        (task,) = claim(store, 1)
        assert store.settle("a", [starved(task)]) == [verdict]
        if verdict is Verdict.REQUEUED:
            make_due(server, keys.SCHEDULED, task_id)
            store.promote()

    record = read(server.url, task_id)[0]
    assert record.failure is not None
    assert record.failure.kind is FailureKind.OOM


@pytest.mark.parametrize("end", [lambda task: raised(task, "ValueError"), starved, crash, lost])
def test_a_task_with_a_single_attempt_is_never_started_twice(server: Valkey, store: Store, end: object) -> None:
    callee = function(server.url, max_attempts=1, terms=Terms(retry=Retry(5)))
    submit(server.url, callee, b"")
    (task,) = claim(store, 1)

    assert not task.may_run_again
    assert store.settle("a", [end(task)]) == [Verdict.STORED]  # type: ignore[operator]


# Expiry and deadlines


def test_a_task_that_is_not_started_in_time_expires(server: Valkey, store: Store) -> None:
    callee = register(server.url)
    task_id, other = one(server.url, callee, expires_s=0.2), one(server.url, callee)

    wait_until(lambda: store.promote() and read(server.url, task_id)[0].status is State.FAILED, 5, "it has expired")

    record = read(server.url, task_id)[0]
    assert record.failure is not None
    assert (record.failure.kind, record.attempts) == (FailureKind.EXPIRED, ())
    assert [task.task_id for task in claim(store, 5)] == [other], "what has expired is passed over"
    assert ask(server.url, AsyncStore.counts).queued == 0


def test_a_claim_starts_nothing_whose_time_is_over(server: Valkey, store: Store) -> None:
    task_id = one(server.url, register(server.url), expires_s=0.05)
    wait_until(lambda: time.time() > read(server.url, task_id)[0].submitted_at + 0.1, 5, "its time is over")

    assert claim(store, 1) == []
    assert read(server.url, task_id)[0].status is State.FAILED


def test_a_started_task_does_not_expire_but_its_deadline_goes_on(server: Valkey, store: Store) -> None:
    task_id = one(server.url, register(server.url), expires_s=30, deadline_s=60)
    (task,) = claim(store, 1)
    assert task.deadline_s == pytest.approx(60, abs=3)

    store.settle("a", [lost(task)])
    make_due(server, "{regrow}:deadlines", task_id)
    store.promote()
    assert read(server.url, task_id)[0].status is State.QUEUED, "neither has come yet"

    with server.client() as client:
        client.hset(keys.task(task_id), "deadline", 1)
    make_due(server, "{regrow}:deadlines", task_id)
    store.promote()
    record = read(server.url, task_id)[0]
    assert record.failure is not None
    assert record.failure.kind is FailureKind.TIMED_OUT


# Cancelling


def test_a_queued_task_is_cancelled_and_never_claimed(server: Valkey, store: Store) -> None:
    first, second = submit(server.url, register(server.url), b"1", b"2")

    cancel(server.url, first)
    cancel(server.url, first)

    record = read(server.url, first)[0]
    assert record.failure is not None
    assert (record.status, record.failure.kind) == (State.FAILED, FailureKind.CANCELLED)
    assert ask(server.url, AsyncStore.counts).queued == 1
    assert [task.task_id for task in claim(store, 5)] == [second]
    assert ask(server.url, AsyncStore.counts).queued == 0


def test_what_is_cancelled_while_the_drops_are_read_is_told_next_time(
    server: Valkey, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(server.url, register(server.url), b"", b"")
    first, second = claim(store, 2)
    cancel(server.url, first.task_id)
    trip = store._trip

    def cancel_behind(name: str, talk: Callable[[], object]) -> object:
        answer = trip(name, talk)
        if name == "drops":
            cancel(server.url, second.task_id)
        return answer

    monkeypatch.setattr(store, "_trip", cancel_behind)

    assert store.drops("a") == [Drop(first.task_id, 1, first.worker)]
    assert store.drops("a") == [Drop(second.task_id, 1, second.worker)]
    assert store.drops("a") == []


def test_a_running_task_is_cancelled_and_its_outcome_refused(server: Valkey, store: Store) -> None:
    task_id = submit(server.url, register(server.url), b"")[0]
    (task,) = claim(store, 1)

    cancel(server.url, task_id)

    assert store.drops("a") == [Drop(task_id, 1, task.worker)]
    assert store.drops("a") == []
    assert store.leases("a") == []
    assert store.settle("a", [success(task)]) == [Verdict.STALE]
    assert [attempt.outcome for attempt in read(server.url, task_id)[0].attempts] == ["cancelled"]
    assert ask(server.url, AsyncStore.counts).stale_results == 1


def test_a_scheduled_task_is_cancelled(server: Valkey, store: Store) -> None:
    task_id = one(server.url, register(server.url), delay_s=60)

    cancel(server.url, task_id)

    assert store.promote() == (0, None)
    assert read(server.url, task_id)[0].status is State.FAILED
    assert ask(server.url, AsyncStore.counts).scheduled == 0


def test_an_ended_task_cannot_be_cancelled(server: Valkey, store: Store) -> None:
    task_id = submit(server.url, register(server.url), b"")[0]
    store.settle("a", [success(claim(store, 1)[0])])

    cancel(server.url, task_id, TaskId(str(uuid.uuid4())))

    assert read(server.url, task_id)[0].status is State.COMPLETED


def test_ten_thousand_cancelled_tasks_do_not_hide_the_one_behind_them(server: Valkey, store: Store) -> None:
    callee = register(server.url)
    ids = submit(server.url, callee, *[b""] * 10_000)
    last = submit(server.url, callee, b"")[0]
    for at in range(0, len(ids), 1000):
        cancel(server.url, *ids[at : at + 1000])

    found = claim(store, 2) + claim(store, 2)

    assert [task.task_id for task in found] == [last]
    assert ask(server.url, AsyncStore.counts).queued == 0


def test_cancelling_again_says_the_same_and_what_runs_can_be_left_alone(server: Valkey, store: Store) -> None:
    callee = register(server.url)
    running, ended, waiting, gone = *submit(server.url, callee, b"1", b"2", b"3"), TaskId(str(uuid.uuid4()))
    _, second = claim(store, 2)
    store.settle("a", [success(second)])
    ids = [running, ended, waiting, gone]

    for _ in range(2):
        said = ask(server.url, lambda store: store.cancel(ids, DAY, only_queued=True))
        assert said == [CancelVerdict.RUNNING, CancelVerdict.ENDED, CancelVerdict.CANCELLED, CancelVerdict.UNKNOWN]
    for _ in range(2):
        assert ask(server.url, lambda store: store.cancel([running], DAY)) == [CancelVerdict.CANCELLED]


# Dead letters


def test_a_task_on_which_regrow_gave_up_keeps_its_parameters(server: Valkey, store: Store) -> None:
    callee = function(server.url)
    task_id = one(server.url, callee, max_attempts=1, limits=Limits(wall_s=3))
    store.settle("a", [crash(claim(store, 1)[0])])

    letter = ask(server.url, lambda store: store.letter(task_id))

    assert letter == Letter(callee, b"params", 1, None, Limits(wall_s=3))
    assert ask(server.url, lambda store: store.discard([task_id])) == 1
    assert ask(server.url, lambda store: store.letter(task_id)) is None
    assert read(server.url, task_id)[0].status is State.FAILED, "thrown away, but it has failed all the same"


def test_letters_that_died_in_the_same_millisecond_are_all_on_some_page(server: Valkey, store: Store) -> None:
    callee = function(server.url, max_attempts=1)
    ids = submit(server.url, callee, *[b""] * 25)
    store.settle("a", [crash(task) for task in claim(store, 25)])

    pages: list[list[TaskId]] = []
    after: TaskId | None = None
    while page := ask(server.url, lambda store, after=after: store.letters(10, after)):
        pages.append(page)
        after = page[-1]

    assert [len(page) for page in pages] == [10, 10, 5]
    assert sorted(name for page in pages for name in page) == sorted(ids)
    ask(server.url, lambda store: store.discard([pages[0][-1]]))
    behind = ask(server.url, lambda store: store.letters(50, pages[0][-1]))
    assert set(pages[1] + pages[2]) <= set(behind), "where the last one has gone, none is passed over"


def test_letters_leave_when_their_records_do(server: Valkey) -> None:
    store = Store.connect(server.url, retention_s=0.2)
    try:
        callee = function(server.url, max_attempts=1)
        submit(server.url, callee, b"")
        store.settle("a", [crash(claim(store, 1)[0])])
        assert store.promote()[1] == pytest.approx(0.2, abs=0.2), "it says when it is to be asked again"

        wait_until(lambda: store.promote() == (0, None), 5, "nothing waits for its time any more")

        with server.client() as client:
            assert not client.exists(keys.DEAD)
    finally:
        store.close()


def test_what_a_function_raised_is_no_dead_letter(server: Valkey, store: Store) -> None:
    submit(server.url, register(server.url), b"")
    store.settle("a", [failure(claim(store, 1)[0])])

    assert ask(server.url, lambda store: store.letters(10)) == []


# Functions


def test_a_deleted_functions_tasks_still_run_and_its_bytes_go_with_the_last(server: Valkey, store: Store) -> None:
    callee = function(server.url, b"short-lived")
    digest = digest_of(b"short-lived")
    submit(server.url, callee, b"1", b"2")

    assert ask(server.url, lambda store: store.forget_function(callee))
    assert not ask(server.url, lambda store: store.forget_function(callee))
    new = [NewTask(TaskId(str(uuid.uuid4())), callee, b"")]
    assert ask(server.url, lambda store: store.submit(new, 10)) == [SubmitVerdict.UNKNOWN_FUNCTION]
    assert ask(server.url, lambda store: store.get_function(callee)) is None

    first, second = claim(store, 2)
    store.settle("a", [success(first)])
    assert store.code([digest]) == {digest: b"short-lived"}
    store.settle("a", [success(second)])
    assert store.code([digest]) == {digest: None}


def test_bytes_that_two_functions_share_stay_with_the_second(server: Valkey, store: Store) -> None:
    first, _ = function(server.url, b"shared"), function(server.url, b"shared")

    ask(server.url, lambda store: store.forget_function(first))

    assert store.code([digest_of(b"shared")]) == {digest_of(b"shared"): b"shared"}


def test_a_function_that_nobody_calls_expires_and_a_call_renews_it(server: Valkey, store: Store) -> None:
    callee = function(server.url, b"rare", ttl_s=3600.0)
    make_due(server, keys.FUNCTION_TIMERS, callee)
    submit(server.url, callee, b"")
    store.promote()
    assert ask(server.url, lambda store: store.get_function(callee)) is not None

    make_due(server, keys.FUNCTION_TIMERS, callee)
    store.promote()

    assert ask(server.url, lambda store: store.get_function(callee)) is None
    assert [task.params for task in claim(store, 1)] == [b""], "what was accepted runs"


# Damage


@pytest.mark.parametrize("field", ["attempt", "size", "limit"])
def test_a_record_that_makes_no_sense_ends_its_task_and_no_other(server: Valkey, store: Store, field: str) -> None:
    damaged, whole = submit(server.url, register(server.url), b"1", b"2")
    with server.client() as client:
        client.hset(keys.task(damaged), field, b"\xff\x00nonsense")

    assert [task.task_id for task in claim(store, 5)] == [whole]

    record = read(server.url, damaged)[0]
    assert record.failure is not None
    assert (record.status, record.failure.kind) == (State.FAILED, FailureKind.CORRUPT_PAYLOAD)
    assert ask(server.url, AsyncStore.counts).damaged_records == 1


def test_a_value_that_is_not_the_one_that_was_stored_is_no_value(server: Valkey, store: Store) -> None:
    from zlib import crc32

    task_id = submit(server.url, register(server.url), b"")[0]
    (task,) = claim(store, 1)
    outcome = Outcome(task.task_id, 1, b"value", checksum=crc32(b"value"))
    store.settle("a", [Settlement(task.task_id, 1, Move.SUCCEED, task.worker, outcome)])
    assert read(server.url, task_id)[0].value == b"value"

    with server.client() as client:
        client.hset(keys.task(task_id), "value", b"valve")

    record = read(server.url, task_id)[0]
    assert record.failure is not None
    assert (record.value, record.failure.kind) == (None, FailureKind.CORRUPT_PAYLOAD)


def test_printed_text_is_kept_with_the_last_attempt_that_printed(server: Valkey, store: Store) -> None:
    task_id = submit(server.url, register(server.url), b"")[0]
    (task,) = claim(store, 1)
    died = Outcome(task_id, 1, failure=Failure(FailureKind.CRASHED, "SIGSEGV", "dead"), printed=b"last words")
    store.settle("a", [Settlement(task_id, 1, Move.CRASH, task.worker, died)])
    assert read(server.url, task_id)[0].printed == b"last words"

    (task,) = claim(store, 1)
    store.settle(
        "a", [Settlement(task_id, 2, Move.SUCCEED, task.worker, Outcome(task_id, 2, b"value", printed=b"done"))]
    )
    assert read(server.url, task_id)[0].printed == b"done"


def test_hints_tell_what_is_new(server: Valkey, store: Store) -> None:
    async def heard() -> list[bytes]:
        found: list[bytes] = []
        with server.client() as client, client.pubsub() as subscription:
            subscription.subscribe(keys.WAKE)
            wait_until(lambda: subscription.get_message(timeout=0.1), 5, "subscribed")
            callee = await asyncio.to_thread(register, server.url)
            await asyncio.to_thread(one, server.url, callee, delay_s=60)
            running = await asyncio.to_thread(submit, server.url, callee, b"")
            claim(store, 1)
            await asyncio.to_thread(cancel, server.url, *running)
            while (message := subscription.get_message(timeout=0.2)) is not None:
                found.append(message["data"])
        return found

    assert asyncio.run(heard()) == [b"due", b"1", b"drops"]


def test_what_was_cancelled_so_long_ago_that_its_record_has_gone_is_not_counted_against_the_queue(
    server: Valkey, store: Store
) -> None:
    """Else the last tasks of the queue would be taken for none, and nobody would claim them."""
    callee = function(server.url)
    gone, first, second = (one(server.url, callee) for _ in range(3))
    ask(server.url, lambda store: store.cancel([gone], 0.01))
    wait_until(
        lambda: ask(server.url, lambda store: store.read([gone], with_result=False)) == [None],
        5,
        "the record has expired",
    )

    answer = store.claim("a", "claim-1", [Share(WORKER, 1, 0.0)], {}, 1 << 30)

    assert [task.task_id for task in answer.tasks] == [first]
    assert answer.left == 1, f"{second} still waits"
