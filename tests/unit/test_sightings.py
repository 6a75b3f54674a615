"""What a client notes of its calls: certain, refused, or unknown; and a digest that any change of an outcome changes."""

from pathlib import Path

import msgspec
import pytest

from regrow.actors.task import State
from regrow.chaos.door import NoAnswer
from regrow.chaos.history import Op
from regrow.chaos.lines import read_lines
from regrow.chaos.sightings import Errand, Sightings, digest
from regrow.gateway import by_value
from regrow.gateway.answers import AttemptView, ErrorView, TaskView

VALUE = by_value.dumps({"number": 3, "value": 3, "run": "0123456789abcdef"})
DONE = TaskView("a", State.COMPLETED, attempts=[AttemptView(1, "w")], finished_at=5.0, result=VALUE)
RAISED = ErrorView("raised", "ValueError", "task 3 was asked to raise (run 0123456789abcdef)")


@pytest.mark.parametrize(
    "change",
    [
        {"status": State.FAILED},
        {"result": VALUE + b"."},
        {"finished_at": 6.0},
        {"error": RAISED},
        {"attempts": [AttemptView(1, "w"), AttemptView(2, "w")]},
    ],
)
def test_every_change_of_an_outcome_changes_its_digest(change: dict[str, object]) -> None:
    assert digest(msgspec.structs.replace(DONE, **change)) != digest(DONE)
    assert digest(msgspec.structs.replace(DONE)) == digest(DONE)


def test_calls_and_what_became_of_them_are_paired_in_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    with Sightings(path) as sightings:
        certain, unknown, good = sightings.invoke("submit", [Errand(n, "noop") for n in range(3)], 1.0, [0.5, 0.6, 0.7])
        sightings.failed([certain], NoAnswer("queue_full", is_certain=True))
        sightings.failed([unknown], NoAnswer("connection_lost", is_certain=False))
        sightings.acknowledged(good, "a")
        sightings.seen("read", [Errand(2, "noop", "a")], 2.0, [DONE])

        found = read_lines(path, Op)

    assert found == sightings.ops
    assert [op.type for op in found] == ["invoke"] * 3 + ["fail", "info", "ok", "invoke", "ok"]
    assert [op.call for op in found] == [0, 1, 2, 0, 1, 2, 3, 3]
    assert found[0].due == 0.5
    assert found[3].problem == "queue_full"
    assert (found[7].run, found[7].value, found[7].status) == ("0123456789abcdef", "3", "COMPLETED")


def test_a_failure_names_the_run_that_raised(tmp_path: Path) -> None:
    failed = TaskView("a", State.FAILED, attempts=[AttemptView(1, "w")], finished_at=5.0, error=RAISED)
    with Sightings(tmp_path / "history.jsonl") as sightings:
        sightings.seen("final", [Errand(3, "raise", "a")], 2.0, [failed])

    assert (sightings.ops[-1].error_kind, sightings.ops[-1].run) == ("raised", "0123456789abcdef")


def test_a_value_that_is_none_of_ours_is_said_to_be_so(tmp_path: Path) -> None:
    with Sightings(tmp_path / "history.jsonl") as sightings:
        sightings.seen("final", [Errand(3, "noop", "a")], 2.0, [msgspec.structs.replace(DONE, result=b"garbage")])

    assert sightings.ops[-1].value.startswith("unreadable")
    assert sightings.ops[-1].run == ""
