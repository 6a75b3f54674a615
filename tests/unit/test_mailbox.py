"""The mailbox: system first, a bound for users, one answer per call, one Down per monitor."""

from hypothesis import given
from hypothesis import strategies as st

from regrow.runtime.mailbox import MAILBOX_FULL, Mailbox, Overflow, Stale, error_of
from regrow.runtime.spec import ExitReason, ReasonKind
from regrow.runtime.wire import Call, Cast, Down, Forget, Monitor, Refusal, Reply, Stop

ME, YOU = "root/me", "root/you"
GONE = ExitReason(ReasonKind.EXIT, "1")


def cast(body: bytes = b"") -> Cast:
    return Cast(ME, YOU, body)


def test_a_stop_overtakes_all_that_waits() -> None:
    mailbox = Mailbox(ME, 10)
    for message in (cast(b"1"), cast(b"2"), Stop(3.0)):
        assert mailbox.accept(message) is None

    assert [mailbox.next() for _ in range(4)] == [Stop(3.0), cast(b"1"), cast(b"2"), None]
    assert mailbox.is_empty


def test_a_full_mailbox_drops_casts_refuses_calls_and_takes_system_messages() -> None:
    mailbox = Mailbox(ME, 1)
    mailbox.accept(cast())

    assert mailbox.accept(cast()) == Overflow(YOU)
    refusal = mailbox.accept(Call(ME, YOU, 7, b""))
    assert isinstance(refusal, Refusal)
    assert (refusal.to, refusal.ref, refusal.code) == (YOU, 7, MAILBOX_FULL)
    assert mailbox.accept(Stop(None)) is None


def test_what_is_addressed_below_an_actor_has_no_such_actor() -> None:
    mailbox = Mailbox(ME, 10)

    refusal = mailbox.accept(Call(f"{ME}/below", YOU, 1, b""))
    down = mailbox.accept(Monitor(f"{ME}/below", YOU, 2))

    assert isinstance(refusal, Refusal)
    assert refusal.code == "no_such_actor"
    assert isinstance(down, Down)
    assert down.reason.kind is ReasonKind.NO_PROCESS


def test_an_answer_goes_to_its_call_once() -> None:
    mailbox = Mailbox(ME, 10)
    first, second = mailbox.open_call(), mailbox.open_call()

    assert mailbox.accept(Reply(ME, second, b"2")) is None
    assert mailbox.answer(first) is None
    assert mailbox.answer(second) == Reply(ME, second, b"2")
    assert mailbox.accept(Reply(ME, second, b"again")) == Stale(second)

    mailbox.close_call(first)
    assert mailbox.accept(Reply(ME, first, b"late")) == Stale(first)


def test_the_second_down_of_a_monitor_is_stale() -> None:
    mailbox = Mailbox(ME, 10)
    ref = mailbox.open_monitor()
    down = Down(ME, ref, YOU, GONE)

    assert mailbox.accept(down) is None
    assert mailbox.accept(down) == Stale(ref)
    assert mailbox.next() == down
    assert mailbox.next() is None


def test_a_monitor_taken_back_swallows_a_down_that_waits() -> None:
    mailbox = Mailbox(ME, 10)
    ref = mailbox.open_monitor()
    mailbox.accept(Down(ME, ref, YOU, GONE))

    mailbox.close_monitor(ref)

    assert mailbox.next() is None


def test_a_call_whose_caller_gave_up_is_not_served() -> None:
    mailbox = Mailbox(ME, 10)
    mailbox.accept(Call(ME, YOU, 1, b""))
    mailbox.accept(Call(ME, YOU, 2, b""))

    mailbox.accept(Forget(ME, YOU, 1))

    assert mailbox.next() == Call(ME, YOU, 2, b"")
    assert mailbox.next() is None


def test_a_refusal_becomes_the_error_that_it_names() -> None:
    assert type(error_of(Refusal(ME, 1, "no_such_actor", "gone"))).__name__ == "NoSuchActor"
    assert str(error_of(Refusal(ME, 1, "config", "no"))) == "config: no"


@given(st.lists(st.sampled_from(["cast", "call", "stop", "next"]), max_size=60))
def test_users_keep_their_order_and_never_exceed_the_bound(story: list[str]) -> None:
    mailbox, waiting, taken = Mailbox(ME, 5), [], []
    for number, step in enumerate(story):
        if step == "next":
            message = mailbox.next()
            if isinstance(message, Cast | Call):
                taken.append(message)
        elif step == "stop":
            mailbox.accept(Stop(None))
        else:
            message = cast(str(number).encode()) if step == "cast" else Call(ME, YOU, number, b"")
            if mailbox.accept(message) is None:
                waiting.append(message)

    assert taken == waiting[: len(taken)]
    assert len(waiting) - len(taken) <= 5
