"""Stories from the record alone, from the stream alone, and from both."""

import pytest

from regrow.actors.happenings import ChildEvent, Event, FaultEvent, Phase, TaskEvent
from regrow.actors.task import TRANSITIONS, Attempt, Failure, FailureKind, FunctionId, State, TaskId, TaskRecord
from regrow.gateway.story import WORDS, has_submit, story

ID = TaskId("t")
W0, W1 = "worker-0@here/1", "worker-1@here/2"
SUBMITTED, STARTED, LOST, AGAIN, ENDED = 100.0, 100.1, 102.0, 102.1, 104.0


def move(at: float, name: str, attempt: int = 0, worker: str = "", why: str = "", task_id: str = ID) -> TaskEvent:
    return TaskEvent(at, task_id, name, attempt, worker, why)


def death(at: float, path: str = "root/workers/worker-0", host: str = "here") -> ChildEvent:
    return ChildEvent(at, "child.down", path, 1, 4711, "signal:SIGKILL", host)


def record(status: State, *attempts: Attempt, finished_at: float | None = ENDED, kind: str = "") -> TaskRecord:
    failure = Failure(FailureKind(kind), "ValueError", "no") if kind else None
    return TaskRecord(ID, FunctionId("f"), status, SUBMITTED, finished_at, attempts, failure=failure)


RERUN = record(State.COMPLETED, Attempt(1, W0, STARTED, LOST, "worker_lost"), Attempt(2, W1, AGAIN, ENDED, "completed"))
STREAM: list[Event] = [
    move(SUBMITTED, "submit"),
    move(STARTED, "claim", 1, W0),
    move(LOST, "lose_worker", 1, W0, "worker_lost"),
    death(LOST - 0.01),
    move(AGAIN, "claim", 2, W1),
    move(ENDED, "succeed", 2, W1, "completed"),
]


def names(told: TaskRecord, events: list[Event]) -> list[str]:
    return [line.move for line in story(told, events)]


def test_the_record_alone_tells_each_attempt_and_the_end() -> None:
    lines = story(RERUN, [])

    assert [(line.at, line.move, line.attempt, line.worker) for line in lines] == [
        (SUBMITTED, "submit", 0, ""),
        (STARTED, "claim", 1, W0),
        (LOST, "lose_worker", 1, W0),
        (AGAIN, "claim", 2, W1),
        (ENDED, "succeed", 2, W1),
    ]


def test_the_stream_adds_the_death_before_the_loss_whichever_was_written_first() -> None:
    lines = story(RERUN, STREAM)

    assert [line.move for line in lines] == ["submit", "claim", "worker_down", "lose_worker", "claim", "succeed"]
    assert "worker-0 (process 4711) died: signal:SIGKILL" in lines[2].text


@pytest.mark.parametrize("gone", range(len(STREAM) + 1))
def test_however_much_of_the_stream_is_gone_each_move_is_told_once(gone: int) -> None:
    told = [name for name in names(RERUN, STREAM[gone:]) if name != "worker_down"]

    assert told == ["submit", "claim", "lose_worker", "claim", "succeed"]


def test_a_move_that_only_the_stream_knows_is_told_beside_those_of_the_record() -> None:
    events: list[Event] = [move(101.0, "inherit", 1, W0, "old"), move(101.5, "give_back", 1, W0)]

    assert names(RERUN, events) == ["submit", "claim", "inherit", "give_back", "lose_worker", "claim", "succeed"]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (death(LOST - 0.01, "root/workers/worker-1"), "another worker"),
        (death(LOST - 0.01, host="there"), "the same name on another machine"),
        (death(LOST - 60), "an earlier life"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_death_that_has_nothing_to_do_with_it_is_not_told(other: ChildEvent, why: str) -> None:
    assert "worker_down" not in names(RERUN, [other]), why


def fault(at: float, target: str, phase: Phase = "injected", host: str = "here") -> FaultEvent:
    return FaultEvent(at, "freeze", target, phase, "for 5 s", host)


def test_a_fault_on_purpose_stands_where_it_hit_the_worker_or_a_slot_of_it() -> None:
    faults = [
        fault(STARTED + 1, "root/workers/worker-0"),
        fault(AGAIN + 1, "root/workers/worker-1/slot-0", "missed"),
    ]

    lines = story(RERUN, [*faults, *STREAM])

    moves = ["submit", "claim", "fault", "worker_down", "lose_worker", "claim", "fault", "succeed"]
    assert [line.move for line in lines] == moves
    assert (lines[2].attempt, lines[2].worker, lines[6].attempt) == (1, W0, 2)
    assert lines[2].text == "somebody's fault on purpose, freeze of root/workers/worker-0, was injected: for 5 s"


@pytest.mark.parametrize(
    "other",
    [
        fault(STARTED + 1, "root/workers/worker-1"),
        fault(STARTED + 1, "root/workers/worker-01"),
        fault(STARTED + 1, "root/workers/worker-0", host="elsewhere"),
        fault(STARTED - 0.1, "root/workers/worker-0"),
        fault(LOST + 2, "root/workers/worker-0"),
    ],
    ids=["another worker", "another name", "another machine", "before", "after"],
)
def test_a_fault_that_has_not_hit_its_worker_at_the_time_is_not_told(other: FaultEvent) -> None:
    assert "fault" not in names(RERUN, [other, *STREAM])


def test_moves_of_other_tasks_are_left_out() -> None:
    assert len(story(RERUN, [move(1.0, "claim", 1, W0, task_id="other")])) == len(story(RERUN, []))


@pytest.mark.parametrize(
    ("outcome", "kind", "name"),
    [
        ("raised", "raised", "fail"),
        ("crashed", "quarantined", "give_up"),
        ("worker_lost", "worker_lost", "give_up"),
        ("cancelled", "cancelled", "cancel"),
        ("timed_out", "timed_out", "fail"),
    ],
)
def test_a_failed_attempt_ends_the_story_with_its_reason(outcome: str, kind: str, name: str) -> None:
    lines = story(record(State.FAILED, Attempt(1, W0, STARTED, ENDED, outcome), kind=kind), [])

    assert [line.move for line in lines] == ["submit", "claim", name]
    assert kind in lines[-1].text or name == "cancel"
    assert lines[-1].why == kind


@pytest.mark.parametrize(("kind", "name"), [("cancelled", "cancel"), ("expired", "expire")])
def test_a_task_that_ended_in_the_queue_has_an_end_without_a_worker(kind: str, name: str) -> None:
    lines = story(record(State.FAILED, kind=kind), [])

    assert [(line.move, line.worker) for line in lines] == [("submit", ""), (name, "")]


@pytest.mark.parametrize(("outcome", "name"), [("crashed", "crash"), ("oom", "oom"), ("raised", "retry")])
def test_an_attempt_that_was_not_the_last_is_told_as_queued_again(outcome: str, name: str) -> None:
    told = record(State.QUEUED, Attempt(1, W0, STARTED, LOST, outcome), finished_at=None)

    assert names(told, [])[-1] == name
    assert "queued again" in story(told, [])[-1].text


def test_the_stream_has_all_of_a_task_while_it_has_its_submit() -> None:
    assert has_submit(RERUN, STREAM)
    assert not has_submit(RERUN, STREAM[1:])
    assert not has_submit(RERUN, [move(SUBMITTED, "submit", task_id="another"), *STREAM[1:]])


def test_a_running_task_ends_with_its_claim() -> None:
    assert names(record(State.RUNNING, Attempt(1, W0, STARTED), finished_at=None), [])[-1] == "claim"


def test_there_are_words_for_every_move_of_the_table() -> None:
    assert {name for _, name in TRANSITIONS} <= set(WORDS)


def test_a_move_of_a_newer_version_is_told_by_its_name() -> None:
    assert story(RERUN, [*STREAM, move(105.0, "moonwalk", 2)])[-1].text == "moonwalk"
