"""What a dispatcher owes the store: in groups, each ending once, the better of two endings."""

from regrow.actors.ledger import ITEM_BYTES, Ledger, size_bytes
from regrow.actors.task import Failure, FailureKind, Move, Outcome, Settlement, TaskId, Verdict, WorkerId
from regrow.actors.wire import BATCH_BYTES, BATCH_TASKS

WORKER = WorkerId("w")


def loss(name: str) -> Settlement:
    return Settlement(TaskId(name), 1, Move.LOSE_WORKER, WORKER)


def success(name: str, value: bytes = b"v") -> Settlement:
    return Settlement(TaskId(name), 1, Move.SUCCEED, WORKER, Outcome(TaskId(name), 1, value))


def failure(name: str) -> Settlement:
    why = Failure(FailureKind.RAISED, "E", "message", "traceback", b"pickle")
    return Settlement(TaskId(name), 1, Move.FAIL, WORKER, Outcome(TaskId(name), 1, None, why))


def test_what_ends_while_a_batch_is_in_flight_goes_with_the_next_one():
    ledger = Ledger()
    ledger.add(success("a"))

    first = ledger.next_batch()
    ledger.add(success("b"))
    ledger.add(failure("c"))

    assert first == [success("a")]
    assert ledger.next_batch() == []
    assert set(ledger) == {("a", 1), ("b", 1), ("c", 1)}
    assert list(ledger.answered([Verdict.STORED])) == [(success("a"), Verdict.STORED)]
    assert ledger.next_batch() == [success("b"), failure("c")]


def test_an_outcome_takes_the_place_of_a_loss_and_never_the_other_way_round():
    ledger = Ledger()

    ledger.add(loss("a"))
    ledger.add(success("a"))
    ledger.add(loss("a"))

    assert ledger.next_batch() == [success("a")]
    ledger.add(loss("a"))
    ledger.add(success("a"))
    assert list(ledger.answered([Verdict.STORED])) == [(success("a"), Verdict.STORED)]
    assert ledger.next_batch() == [], "what was being written is owed no more"


def test_a_batch_ends_at_its_bounds_and_a_large_outcome_travels_alone():
    many, large = Ledger(), Ledger()
    for number in range(BATCH_TASKS + 1):
        many.add(loss(str(number)))
    large.add(success("large", bytes(BATCH_BYTES + 1)))
    large.add(success("small"))

    assert len(many.next_batch()) == BATCH_TASKS
    assert [settlement.task_id for settlement in large.next_batch()] == ["large"]


def test_a_settlement_weighs_what_it_carries():
    assert size_bytes(loss("a")) == ITEM_BYTES
    assert size_bytes(success("a", b"12345")) == ITEM_BYTES + 5
    assert size_bytes(failure("a")) == ITEM_BYTES + len("message") + len("traceback") + len(b"pickle")
