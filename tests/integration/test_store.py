"""The store's moves on a real server: claims, settlements, limits, and what a repeated call does."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from regrow.actors import keys
from regrow.actors.claims import Share
from regrow.actors.scripts import Script
from regrow.actors.store import Store
from regrow.actors.task import (
    MAX_LOST_WORKERS,
    TRANSITIONS,
    Claimed,
    FailureKind,
    Move,
    Settlement,
    State,
    TaskId,
    Verdict,
    WorkerId,
)
from regrow.actors.wire import BATCH_TASKS
from support.tasks import claim, crash, digest_of, failure, given_back, lost, read, register, submit, success
from support.valkey import Valkey

A, B = WorkerId("a@h/1"), WorkerId("b@h/2")


def test_the_scripts_know_the_same_moves_as_the_state_table(server: Valkey) -> None:
    text = Script("claim").text.partition("local TASK")[0] + "return cjson.encode(MOVES)"

    with server.client() as client:
        moves = msgspec.json.decode(client.eval(text, 0))

    assert {(State(s), Move(m)): State(to) for s, row in moves.items() for m, to in row.items()} == TRANSITIONS


def test_a_claimed_task_is_running_and_a_success_completes_it(server: Valkey, store: Store) -> None:
    [task_id] = submit(server.url, register(server.url), b"params")

    [task] = claim(store, 5)
    [running] = read(server.url, task_id)
    verdicts = store.settle("a", [success(task, b"42")])
    [ended] = read(server.url, task_id)

    assert (task.task_id, task.attempt, task.params, task.digest) == (task_id, 1, b"params", digest_of(b"code"))
    assert running.status is State.RUNNING
    assert [(one.number, one.worker, one.ended_at) for one in running.attempts] == [(1, task.worker, None)]
    assert verdicts == [Verdict.STORED]
    assert (ended.status, ended.value, ended.failure) == (State.COMPLETED, b"42", None)
    assert [(one.number, one.outcome) for one in ended.attempts] == [(1, "completed")]
    assert ended.finished_at == ended.attempts[0].ended_at
    assert store.leases("a") == []


def test_an_ended_task_drops_its_parameters_and_expires(server: Valkey) -> None:
    store = Store.connect(server.url, retention_s=60.0)
    [task_id] = submit(server.url, register(server.url), b"params")
    store.settle("a", [success(claim(store, 1)[0])])

    with server.client() as client:
        left_ms = client.pttl(keys.task(task_id))
        params = client.hget(keys.task(task_id), "params")
    store.close()

    assert 50_000 < left_ms <= 60_000
    assert not params


def test_the_functions_exception_is_kept_as_it_was(server: Valkey, store: Store) -> None:
    [task_id] = submit(server.url, register(server.url), b"")
    [task] = claim(store, 1)

    store.settle("a", [failure(task, message="division by zero")])

    [record] = read(server.url, task_id)
    assert record.status is State.FAILED
    assert record.failure is not None
    assert (record.failure.kind, record.failure.message, record.failure.exception) == (
        "raised",
        "division by zero",
        b"\x80",
    )


def test_the_same_claim_again_gives_the_same_tasks_and_no_more(server: Valkey, store: Store) -> None:
    submit(server.url, register(server.url), b"1", b"2", b"3")
    arguments: tuple[Any, ...] = ("a", "claim-1", [Share(A, 2, 0.0)], {}, 1000)

    first, second = store.claim(*arguments), store.claim(*arguments)

    assert first == second
    assert (len(first.tasks), first.left) == (2, 1)


def test_a_repeated_claim_leaves_out_what_was_settled_meanwhile(server: Valkey, store: Store) -> None:
    submit(server.url, register(server.url), b"1", b"2")
    arguments: tuple[Any, ...] = ("a", "claim-1", [Share(A, 2, 0.0)], {}, 1000)
    one, two = store.claim(*arguments).tasks
    store.settle("a", [success(one)])

    assert store.claim(*arguments).tasks == [two]


def test_free_places_are_filled_in_turn_over_the_workers(server: Valkey, store: Store) -> None:
    submit(server.url, register(server.url), *[b"%d" % n for n in range(5)])

    taken = store.claim("a", "c", [Share(A, 3, 0.0), Share(B, 1, 0.0)], {}, 1000)

    assert [(task.worker, task.params) for task in taken.tasks] == [(A, b"0"), (B, b"1"), (A, b"2"), (A, b"3")]
    assert taken.left == 1


def test_nothing_of_an_unknown_function_is_taken_ahead(server: Valkey, store: Store) -> None:
    submit(server.url, register(server.url), b"1", b"2", b"3")

    taken = store.claim("a", "c", [Share(A, 1, 0.010)], {digest_of(b"another"): 0.001}, 1000)

    assert len(taken.tasks) == 1


def test_work_ahead_is_bounded_by_its_expected_time(server: Valkey, store: Store) -> None:
    submit(server.url, register(server.url), *[b"%d" % n for n in range(20)])

    taken = store.claim("a", "c", [Share(A, 0, 0.010), Share(B, 1, 0.004)], {digest_of(b"code"): 0.002}, 1000)

    assert [task.worker for task in taken.tasks].count(A) == 5
    assert [task.worker for task in taken.tasks].count(B) == 1 + 2


def test_a_claim_is_bounded_in_bytes_but_takes_one_task_in_any_case(server: Valkey, store: Store) -> None:
    submit(server.url, register(server.url), b"x" * 500, b"x" * 60, b"x" * 30, b"x" * 30)

    sizes = [
        [len(task.params) for task in store.claim("a", str(n), [Share(A, 9, 0.0)], {}, 100).tasks] for n in range(3)
    ]

    assert sizes == [[500], [60, 30], [30]]


def test_a_claim_is_bounded_in_number(server: Valkey, store: Store) -> None:
    submit(server.url, register(server.url), *[b""] * (BATCH_TASKS + 10))

    taken = store.claim("a", "c", [Share(A, 10_000, 0.0)], {}, 1 << 20)

    assert (len(taken.tasks), taken.left) == (BATCH_TASKS, 10)


def test_a_claim_without_room_takes_nothing_and_tells_what_waits(server: Valkey, store: Store) -> None:
    submit(server.url, register(server.url), b"1", b"2")

    taken = store.claim("a", "c", [Share(A, 0, 0.0)], {}, 1000)

    assert (taken.tasks, taken.left) == ([], 2)


def test_a_queued_id_without_a_record_is_dropped_and_counted(server: Valkey, store: Store) -> None:
    gone, stays = submit(server.url, register(server.url), b"1", b"2")
    with server.client() as client:
        client.delete(keys.task(gone))

    tasks = claim(store, 5)

    assert [task.task_id for task in tasks] == [stays]
    with server.client() as client:
        assert client.hget(keys.COUNTERS, "vanished") == b"1"


def test_what_is_queued_again_stands_at_the_front_in_the_order_given(server: Valkey, store: Store) -> None:
    function = register(server.url)
    submit(server.url, function, *[b"%d" % n for n in range(6)])
    tasks = claim(store, 4)

    verdicts = store.settle("a", [given_back(task) for task in tasks])

    assert verdicts == [Verdict.REQUEUED] * 4
    assert [task.params for task in claim(store, 6)] == [b"0", b"1", b"2", b"3", b"4", b"5"]


def test_a_settle_larger_than_one_script_keeps_order_too(server: Valkey, store: Store) -> None:
    count = BATCH_TASKS + 50
    ids = submit(server.url, register(server.url), *[b""] * count)
    tasks = claim(store, BATCH_TASKS) + claim(store, 50)

    verdicts = store.settle("a", [given_back(task) for task in tasks])

    assert verdicts == [Verdict.REQUEUED] * count
    with server.client() as client:
        assert [one.decode() for one in client.lrange(keys.QUEUE, 0, -1)] == ids


def test_a_give_back_leaves_no_attempt_behind_but_its_number_is_not_used_again(server: Valkey, store: Store) -> None:
    [task_id] = submit(server.url, register(server.url), b"", max_attempts=1)
    store.settle("a", [given_back(claim(store, 1)[0])])

    [again] = claim(store, 1)
    store.settle("a", [success(again)])

    [record] = read(server.url, task_id)
    assert [one.number for one in record.attempts] == [2]


def test_a_task_whose_slot_dies_runs_again_until_it_is_quarantined(server: Valkey, store: Store) -> None:
    [task_id] = submit(server.url, register(server.url, max_attempts=3), b"")

    verdicts = [store.settle("a", [crash(claim(store, 1)[0], f"SIGSEGV {n}")])[0] for n in range(3)]

    [record] = read(server.url, task_id)
    assert verdicts == [Verdict.REQUEUED, Verdict.REQUEUED, Verdict.STORED]
    assert record.failure is not None
    assert (record.failure.kind, record.failure.message) == (FailureKind.QUARANTINED, "SIGSEGV 2")
    assert [one.outcome for one in record.attempts] == ["crashed"] * 3


def test_a_task_that_may_start_once_only_keeps_the_kind_of_its_crash(server: Valkey, store: Store) -> None:
    submit(server.url, register(server.url), b"", b"", max_attempts=1)
    one, two = claim(store, 2)

    store.settle("a", [crash(one), failure(two, Move.CRASH, FailureKind.OOM)])

    records = read(server.url, one.task_id, two.task_id)
    assert [record.failure and record.failure.kind for record in records] == [FailureKind.CRASHED, FailureKind.OOM]


def test_the_tasks_own_limit_overrides_the_functions(server: Valkey, store: Store) -> None:
    [task_id] = submit(server.url, register(server.url, max_attempts=3), b"", max_attempts=2)

    verdicts = [store.settle("a", [crash(claim(store, 1)[0])])[0] for _ in range(2)]

    assert verdicts == [Verdict.REQUEUED, Verdict.STORED]
    assert read(server.url, task_id)[0].status is State.FAILED


def test_lost_workers_have_a_limit_of_their_own(server: Valkey, store: Store) -> None:
    [task_id] = submit(server.url, register(server.url, max_attempts=2), b"")

    verdicts = [store.settle("a", [lost(claim(store, 1)[0])])[0] for _ in range(MAX_LOST_WORKERS)]

    [record] = read(server.url, task_id)
    assert verdicts == [Verdict.REQUEUED] * (MAX_LOST_WORKERS - 1) + [Verdict.STORED]
    assert record.failure is not None
    assert record.failure.kind is FailureKind.WORKER_LOST


def test_a_task_that_may_start_once_only_ends_with_its_worker(server: Valkey, store: Store) -> None:
    [task_id] = submit(server.url, register(server.url), b"", max_attempts=1)

    assert store.settle("a", [lost(claim(store, 1)[0])]) == [Verdict.STORED]

    failure = read(server.url, task_id)[0].failure
    assert failure is not None
    assert failure.kind is FailureKind.WORKER_LOST


def test_a_late_outcome_of_an_older_attempt_is_refused_and_counted(server: Valkey, store: Store) -> None:
    [task_id] = submit(server.url, register(server.url), b"")
    [old] = claim(store, 1)
    store.settle("a", [lost(old)])

    while_queued = store.settle("a", [success(old, b"late")])
    [new] = claim(store, 1)
    while_running = store.settle("a", [success(old, b"late")])
    store.settle("a", [success(new, b"right")])
    after_the_end = store.settle("a", [success(old, b"late")])

    [record] = read(server.url, task_id)
    assert while_queued == while_running == after_the_end == [Verdict.STALE]
    assert record.value == b"right"
    with server.client() as client:
        assert client.hget(keys.COUNTERS, "stale_results_total") == b"3"


def test_the_outcome_of_another_dispatchers_lease_is_refused(server: Valkey, store: Store) -> None:
    [task_id] = submit(server.url, register(server.url), b"")
    [task] = claim(store, 1, dispatcher="a")

    assert store.settle("b", [success(task)]) == [Verdict.STALE]
    assert read(server.url, task_id)[0].status is State.RUNNING


@pytest.mark.parametrize("settlement_of", [success, failure, crash, lost, given_back])
@pytest.mark.parametrize("limit", [1, 3])
def test_a_repeated_settlement_gets_the_same_answer_and_changes_nothing(
    server: Valkey, store: Store, settlement_of: Callable[[Claimed], Settlement], limit: int
) -> None:
    [task_id] = submit(server.url, register(server.url), b"", max_attempts=limit)
    settlements = [settlement_of(claim(store, 1)[0])]

    def everything() -> object:
        with server.client() as client:
            return read(server.url, task_id), client.hgetall(keys.COUNTERS), client.lrange(keys.QUEUE, 0, -1)

    first, before = store.settle("a", settlements), everything()
    second = store.settle("a", settlements)

    assert first == second
    assert everything() == before


def test_another_ending_of_an_ended_attempt_is_stale(server: Valkey, store: Store) -> None:
    [task_id] = submit(server.url, register(server.url), b"")
    [task] = claim(store, 1)
    store.settle("a", [success(task, b"first")])

    verdicts = store.settle("a", [failure(task), crash(task), lost(task), given_back(task)])

    assert verdicts == [Verdict.STALE] * 4
    assert read(server.url, task_id)[0].value == b"first"


def test_a_vanished_record_is_told_counted_and_no_lease_any_more(server: Valkey, store: Store) -> None:
    submit(server.url, register(server.url), b"")
    [task] = claim(store, 1)
    with server.client() as client:
        client.delete(keys.task(task.task_id))

    [held] = store.leases("a")
    verdicts = store.settle("a", [success(task)])

    assert (held.task_id, held.attempt, held.digest) == (task.task_id, 1, "")
    assert verdicts == [Verdict.VANISHED]
    assert store.leases("a") == []
    with server.client() as client:
        assert client.hget(keys.COUNTERS, "vanished") == b"1"


def test_a_move_that_settles_nothing_is_a_mistake_of_the_caller(store: Store) -> None:
    with pytest.raises(ValueError, match="claim cannot be settled"):
        store.settle("a", [Settlement(TaskId("x"), 1, Move.CLAIM, A)])
    with pytest.raises(ValueError, match="succeed cannot be settled"):
        store.settle("a", [Settlement(TaskId("x"), 1, Move.SUCCEED, A)])


def test_leases_are_there_for_a_dispatcher_that_lost_a_reply(server: Valkey, store: Store) -> None:
    submit(server.url, register(server.url), b"one", b"two")
    one, two = claim(store, 2)

    held = store.leases("a")

    assert {(each.task_id, each.attempt, each.worker, each.digest) for each in held} == {
        (each.task_id, each.attempt, each.worker, each.digest) for each in (one, two)
    }


def test_code_is_found_by_digest(server: Valkey, store: Store) -> None:
    register(server.url, b"def f(): ...")
    known, unknown = digest_of(b"def f(): ..."), digest_of(b"never seen")

    assert store.code([known, unknown]) == {known: b"def f(): ...", unknown: None}
    assert store.code([]) == {}


def test_ten_megabytes_pass_both_ways(server: Valkey, store: Store) -> None:
    large = bytes(range(256)) * (10 * 4096)
    [task_id] = submit(server.url, register(server.url), large)

    [task] = claim(store, 1)
    store.settle("a", [success(task, large)])

    assert task.params == large
    assert read(server.url, task_id)[0].value == large


def test_a_server_that_forgot_the_scripts_is_taught_them_again(server: Valkey, store: Store) -> None:
    submit(server.url, register(server.url), b"")
    with server.client() as client:
        client.script_flush()

    assert len(claim(store, 1)) == 1
