"""The record of moves: written by the scripts themselves, bounded, in step with what they do."""

from regrow.actors import keys
from regrow.actors.claims import Share
from regrow.actors.happenings import ChildEvent, Entry, Event, TaskEvent, encode_event
from regrow.actors.store import Store
from regrow.actors.task import Settlement
from support.tasks import WORKER, claim, crash, given_back, lost, register, submit, success
from support.valkey import Valkey

KEPT = 10_000  # entries; the server trims whole nodes of 100
MOVES_PER_ENTRY = 64


def entries(server: Valkey) -> list[list[Event]]:
    """The events of each entry."""
    with server.client() as client:
        return [Entry(name.decode(), fields).events() for name, fields in client.xrange(keys.EVENTS)]


def events(server: Valkey) -> list[Event]:
    return [event for entry in entries(server) for event in entry]


def moves(server: Valkey) -> list[TaskEvent]:
    return [event for event in events(server) if isinstance(event, TaskEvent)]


def test_every_move_of_a_task_is_on_record_in_order_with_attempt_worker_and_reason(
    server: Valkey, store: Store
) -> None:
    [task_id] = submit(server.url, register(server.url), b"")
    for end in (crash, lost, given_back, success):
        store.settle("a", [end(claim(store, 1)[0])])

    told = moves(server)

    assert {move.task_id for move in told} == {task_id}
    assert [(move.move, move.attempt, move.worker, move.why) for move in told] == [
        ("submit", 0, "", ""),
        ("claim", 1, WORKER, ""),
        ("crash", 1, WORKER, "crashed"),
        ("claim", 2, WORKER, ""),
        ("lose_worker", 2, WORKER, "worker_lost"),
        ("claim", 3, WORKER, ""),
        ("give_back", 3, WORKER, ""),
        ("claim", 4, WORKER, ""),
        ("succeed", 4, WORKER, "completed"),
    ]


def test_a_task_that_came_to_its_limit_is_told_as_given_up(server: Valkey, store: Store) -> None:
    submit(server.url, register(server.url, max_attempts=2), b"")
    for _ in range(2):
        store.settle("a", [crash(claim(store, 1)[0])])

    assert [(move.move, move.why) for move in moves(server)][-1] == ("give_up", "quarantined")


def test_what_is_repeated_or_stale_is_not_told_again(server: Valkey, store: Store) -> None:
    submit(server.url, register(server.url), b"1", b"2")
    first = store.claim("a", "one", [Share(WORKER, 2, 0.0)], {}, 1000).tasks
    store.claim("a", "one", [Share(WORKER, 2, 0.0)], {}, 1000)
    endings: list[Settlement] = [success(first[0])]
    store.settle("a", endings)
    store.settle("a", endings)
    store.settle("another", [success(first[1])])

    assert [move.move for move in moves(server)] == ["submit", "submit", "claim", "claim", "succeed"]


def test_a_takeover_is_told_with_the_name_of_the_silent_dispatcher(server: Valkey, store: Store) -> None:
    [task_id] = submit(server.url, register(server.url), b"")
    claim(store, 1, dispatcher="silent")
    with server.client() as client:
        client.zadd(keys.BEATS, {"silent": 0})

    store.inherit("heir", "silent")

    last = moves(server)[-1]
    assert (last.task_id, last.move, last.attempt, last.worker, last.why) == (task_id, "inherit", 1, WORKER, "silent")


def test_one_script_call_makes_few_entries_of_at_most_64_moves(server: Valkey, store: Store) -> None:
    submit(server.url, register(server.url), *[b""] * 150)

    assert [len(entry) for entry in entries(server)] == [64, 64, 22]


def test_the_stream_stays_bounded_under_50_000_moves(server: Valkey, store: Store) -> None:
    function = register(server.url)
    [first] = submit(server.url, function, b"")
    for at in range(0, 16_700, 167):
        submit(server.url, function, *[b"%d" % n for n in range(at, at + 167)])
        for task in claim(store, 167):
            store.settle("a", [success(task)])

    with server.client() as client:
        kept = client.xlen(keys.EVENTS)
    told = moves(server)
    assert KEPT <= kept <= KEPT + 100
    assert told[0].task_id not in (first, told[-1].task_id), "it is the oldest that have gone"
    assert told[-1].move == "succeed"


def test_at_the_memory_limit_moves_are_still_told(server: Valkey, store: Store) -> None:
    submit(server.url, register(server.url), b"x" * 1000)
    with server.client() as client:
        client.config_set("maxmemory", 1)

    store.settle("a", [success(claim(store, 1)[0])])
    store.record("tree", 1, [encode_event(child(1))])

    assert [move.move for move in moves(server)] == ["submit", "claim", "succeed"]
    assert events(server)[-1] == child(1)


def child(number: int) -> ChildEvent:
    return ChildEvent(float(number), "child.up", f"root/{number}", number, 1, "", "here")


def test_what_happened_to_a_tree_is_told_once_however_often_it_is_written(server: Valkey, store: Store) -> None:
    page = [encode_event(child(number)) for number in (1, 2, 3)]

    store.record("tree", 1, page[:2])
    store.record("tree", 1, page)
    store.record("tree", 2, page[1:])
    store.record("another", 1, page[:1])

    assert events(server) == [child(1), child(2), child(3), child(1)]
    with server.client() as client:
        assert 0 < client.pttl(keys.told("tree")) <= 24 * 3600 * 1000


def test_happenings_that_were_lost_leave_no_hole_to_wait_for(server: Valkey, store: Store) -> None:
    store.record("tree", 1, [encode_event(child(1))])
    store.record("tree", 50, [encode_event(child(50))])

    assert events(server) == [child(1), child(50)]
