"""What goes into the store's scripts and what comes out, without a server."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regrow.actors import claims, keys, readings, records
from regrow.actors.claims import Share
from regrow.actors.scripts import BEAT, CANCEL, CLAIM, DUE, FORGET, INHERIT, RECORD, SETTLE, SUBMIT
from regrow.actors.task import Attempt, Digest, Failure, FailureKind, FunctionId, State, TaskId, WorkerId
from regrow.actors.wire import BATCH_BYTES, BATCH_TASKS

A = WorkerId("a@h/1")


@given(st.lists(st.integers(0, BATCH_BYTES * 2), max_size=BATCH_TASKS + 20))
def test_batches_keep_everything_in_order_and_within_their_bounds(sizes: list[int]) -> None:
    batches = list(records.batches(sizes, lambda size: size))

    assert [size for batch in batches for size in batch] == sizes
    assert all(0 < len(batch) <= BATCH_TASKS for batch in batches)
    assert all(sum(batch) <= BATCH_BYTES or len(batch) == 1 for batch in batches)


def test_a_batch_is_cut_only_where_it_must_be() -> None:
    batches = list(records.batches([1] * (BATCH_TASKS + 1), lambda size: size))

    assert [len(batch) for batch in batches] == [BATCH_TASKS, 1]


@pytest.mark.parametrize(
    ("shares", "expected_s", "most"),
    [
        ([], {}, 0),
        ([Share(A, 3, 0.0), Share(A, 4, 0.0)], {}, 7),
        ([Share(A, 3, 0.01)], {}, 3),
        ([Share(A, 3, 0.01)], {Digest("d"): 0.001}, BATCH_TASKS),
        ([Share(A, 3, 0.0)], {Digest("d"): 0.001}, 3),
        ([Share(A, 9999, 0.0)], {}, BATCH_TASKS),
    ],
)
def test_a_claim_asks_for_no_more_than_can_be_placed(
    shares: list[Share], expected_s: dict[Digest, float], most: int
) -> None:
    arguments = claims.claim_arguments("a", "c", shares, expected_s, 100, 60.0)

    assert arguments[2] == most


def test_a_run_too_short_to_measure_still_costs_a_microsecond() -> None:
    arguments = claims.claim_arguments("a", "c", [], {Digest("d"): 0.0}, 100, 60.0)

    assert arguments[-3:] == ["d", 1, 60_000]


def reply(**fields: bytes) -> list[bytes | None]:
    """An HMGET of a task's record."""
    return [fields.get(name) for name in readings.TASK_FIELDS + readings.RESULT_FIELDS]


def test_a_running_attempt_is_shown_after_those_that_are_over() -> None:
    history = msgspec.msgpack.encode([(1, "w", 1000, 2500, "crashed")])

    record = readings.task_of(
        TaskId("t"),
        reply(
            function=b"f",
            status=b"RUNNING",
            submitted=b"500",
            history=history,
            attempt=b"3",
            worker=b"v",
            started=b"4000",
        ),
    )

    assert record is not None
    assert record.attempts == (Attempt(1, "w", 1.0, 2.5, "crashed"), Attempt(3, "v", 4.0))
    assert (record.submitted_at, record.finished_at, record.status) == (0.5, None, State.RUNNING)


def test_a_failure_carries_the_kind_that_the_store_decided_on() -> None:
    last_crash = msgspec.msgpack.encode(Failure(FailureKind.CRASHED, "SlotDied", "SIGSEGV"))

    record = readings.task_of(
        TaskId("t"),
        reply(function=b"f", status=b"FAILED", submitted=b"1", finished=b"2", failure=last_crash, kind=b"quarantined"),
    )

    assert record is not None
    assert record.failure == Failure(FailureKind.QUARANTINED, "SlotDied", "SIGSEGV")


def test_no_record_is_no_task() -> None:
    assert readings.task_of(TaskId("t"), reply()) is None


def test_every_key_but_the_official_one_is_in_one_slot() -> None:
    names = [
        *(keys.FUNCTIONS, keys.QUEUE, keys.COUNTERS, keys.BEATS, keys.DISPATCHERS, keys.WAKE, keys.DONE),
        *(keys.SCHEDULED, keys.DEAD, keys.GONE, keys.FUNCTION_TIMERS, keys.drops("d"), keys.users(Digest("x"))),
        *(keys.leases("d"), keys.claim("d"), keys.workers("d"), keys.task(TaskId("t")), keys.code(Digest("x"))),
    ]

    assert all(name.startswith("{regrow}:") for name in names)


def test_every_key_is_drawn() -> None:
    names = [
        keys.function(FunctionId("<uuid>")),
        keys.function_facts(FunctionId("<uuid>")),
        keys.task(TaskId("<uuid>")),
    ]
    names += [keys.leases("<dispatcher>"), keys.claim("<dispatcher>"), keys.workers("<dispatcher>")]
    names += [
        keys.SCHEDULED,
        keys.DEAD,
        keys.GONE,
        keys.FUNCTION_TIMERS,
        keys.drops("<dispatcher>"),
        keys.users(Digest("<digest>")),
    ]
    names += [keys.FUNCTIONS, keys.QUEUE, keys.COUNTERS, keys.BEATS, keys.DISPATCHERS, keys.WAKE, keys.DONE]
    names += [keys.code(Digest("<digest>")), keys.EVENTS, keys.told("<tree>")]

    assert all(f"    {name} " in (keys.__doc__ or "") for name in names)


def test_every_script_starts_with_the_table_of_moves_and_has_a_digest_of_its_own() -> None:
    scripts = [SUBMIT, CLAIM, SETTLE, BEAT, INHERIT, CANCEL, DUE, FORGET, RECORD]

    assert all(script.text.startswith("-- The legal moves of a task") for script in scripts)
    assert len({script.sha for script in scripts}) == len(scripts)
