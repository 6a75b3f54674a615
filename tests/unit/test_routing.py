"""The switchboard: a path is a route, and whoever waits for the dead is told."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regrow.runtime.routing import Lost, Move, Switchboard, ToBranch, ToParent, ToSelf
from regrow.runtime.spec import ExitReason, ReasonKind
from regrow.runtime.wire import Call, Cast, Down, Forget, Monitor, Refusal, Reply

DEAD = ExitReason(ReasonKind.SIGNAL, "SIGKILL")
OUT = "root/x"


@pytest.fixture
def inner() -> Switchboard:
    board = Switchboard("root/pool", is_root=False)
    board.child_up("a")
    return board


@pytest.fixture
def root() -> Switchboard:
    board = Switchboard("root", is_root=True)
    board.child_up("pool")
    board.child_up("x")
    return board


def test_a_letter_goes_down_up_or_stays(inner: Switchboard) -> None:
    def cast(to: str) -> Cast:
        return Cast(to, OUT, b"")

    assert inner.route(cast("root/pool")) == [ToSelf(cast("root/pool"))]
    assert inner.route(cast("root/pool/a")) == [ToBranch("a", cast("root/pool/a"))]
    assert inner.route(cast("root/pool/a/b")) == [ToBranch("a", cast("root/pool/a/b"))]
    assert inner.route(cast("root/x")) == [ToParent(cast("root/x"))]
    assert inner.route(cast("root/pool2/a")) == [ToParent(cast("root/pool2/a"))]
    assert inner.route(cast("root/pool/@guest")) == [ToBranch("@guest", cast("root/pool/@guest"))]
    assert inner.route(cast("root/pool/nobody")) == [Lost(cast("root/pool/nobody"))]


def test_a_question_to_nobody_is_answered_at_once(root: Switchboard) -> None:
    [refused] = root.route(Call("elsewhere", "root/x", 1, b""), "x")
    [down] = root.route(Monitor("root/nobody", "root/x", 2), "x")

    assert isinstance(refused, ToBranch)
    assert isinstance(refused.letter, Refusal)
    assert refused.letter.code == "no_such_actor"
    assert isinstance(down, ToBranch)
    assert isinstance(down.letter, Down)
    assert down.letter.reason.kind is ReasonKind.NO_PROCESS


def test_whoever_waits_for_a_child_that_dies_is_told_once(root: Switchboard) -> None:
    root.route(Call("root/pool/a", OUT, 1, b""), "x")
    root.route(Monitor("root/pool/a", OUT, 2), "x")
    root.route(Monitor("root/pool", OUT, 3), "x")

    letters = [move.letter for move in root.child_gone("pool", DEAD)]

    assert [(type(letter).__name__, letter.to) for letter in letters] == [
        ("Refusal", OUT),
        ("Down", OUT),
        ("Down", OUT),
    ]
    assert root.child_gone("pool", DEAD) == []


def test_an_answer_crosses_the_question_out(root: Switchboard) -> None:
    root.route(Call("root/pool/a", OUT, 1, b""), "x")
    root.route(Reply(OUT, 1, b""), "pool")

    assert root.child_gone("pool", DEAD) == []


def test_an_answer_of_another_child_crosses_nothing_out(root: Switchboard) -> None:
    root.route(Call("root/pool/a", OUT, 1, b""), "x")
    root.route(Reply(OUT, 1, b"forged"), "x")

    assert len(root.child_gone("pool", DEAD)) == 1


def test_a_question_taken_back_is_not_answered(root: Switchboard) -> None:
    root.route(Monitor("root/pool/a", OUT, 1), "x")
    root.route(Forget("root/pool/a", OUT, 1), "x")

    assert root.child_gone("pool", DEAD) == []


def test_a_monitor_stops_at_the_supervisor_of_its_target(inner: Switchboard) -> None:
    assert inner.route(Monitor("root/pool/a", OUT, 1)) == []
    assert inner.child_gone("a", DEAD) == [ToParent(Down(OUT, 1, "root/pool/a", DEAD))]


def test_what_a_dead_writer_waited_for_is_forgotten_below(root: Switchboard) -> None:
    root.route(Call("root/pool/a", "root/x", 1, b""), "x")

    assert root.child_gone("x", DEAD) == [ToBranch("pool", Forget("root/pool/a", "root/x", 1))]
    assert root.child_gone("pool", DEAD) == []


@pytest.mark.parametrize(("is_full", "code"), [(True, "mailbox_full"), (False, "no_such_actor")])
def test_a_call_that_cannot_be_handed_on_is_refused(root: Switchboard, is_full: bool, code: str) -> None:
    call = Call("root/pool", OUT, 1, b"")
    root.route(call, "x")

    [move] = root.undelivered("pool", call, is_full=is_full)

    assert isinstance(move, ToBranch)
    assert isinstance(move.letter, Refusal)
    assert move.letter.code == code
    assert root.child_gone("pool", DEAD) == []


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["call", "monitor", "reply", "die", "up"]), st.sampled_from(["a", "b", "c"]), st.integers(1, 5)
    ),
    max_size=80,
)


@given(STEPS)
def test_every_question_is_answered_exactly_once_when_all_have_died(steps: list[tuple[str, str, int]]) -> None:
    board, asked, answered = Switchboard("root/pool", is_root=False), Counter[int](), Counter[int]()
    ref = 0

    def note(moves: list[Move]) -> None:
        for move in moves:
            if isinstance(move.letter, Reply | Refusal | Down):
                answered[move.letter.ref] += 1

    pending: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    for step, child, _ in steps:
        if step == "up":
            board.child_up(child)
        elif step == "die":
            pending[child].clear()
            note(board.child_gone(child, DEAD))
        elif step == "reply" and pending[child]:
            note(board.route(Reply(OUT, pending[child].pop(), b""), child))
        elif step in ("call", "monitor"):
            ref += 1
            asked[ref] += 1
            path = f"root/pool/{child}"
            moves = board.route(Call(path, OUT, ref, b"") if step == "call" else Monitor(path, OUT, ref))
            if step == "call" and isinstance(moves[0], ToBranch):
                pending[child].append(ref)
            note(moves)
    for child in "abc":
        note(board.child_gone(child, DEAD))

    assert answered == asked


def test_whoever_monitors_the_root_itself_is_never_told(root: Switchboard) -> None:
    assert root.route(Monitor("root", OUT, 1)) == []


@pytest.mark.parametrize("letter", [Reply("root/gone", 1, b""), Forget("root/gone", OUT, 1)], ids=["answer", "forget"])
def test_an_answer_or_a_second_thought_to_nobody_ends_there(root: Switchboard, letter: Reply | Forget) -> None:
    moves = root.route(letter)

    assert moves == ([Lost(letter)] if isinstance(letter, Reply) else [])
