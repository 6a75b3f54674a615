"""GET /v1/events: every event once and in order, resumed exactly, to any number of listeners, whatever one of them does."""

import asyncio
import signal
import socket
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from regrow.actors import keys
from regrow.actors.annals import Annals
from regrow.actors.happenings import ChildEvent, Entry, Place, encode_event
from regrow.actors.store import Store
from regrow.actors.task import FunctionId, TaskId
from regrow.gateway import event_stream
from regrow.gateway.event_frames import BEAT
from regrow.gateway.event_hub import MAX_BEHIND, Hub
from regrow.gateway.event_stream import EventStream
from regrow.gateway.guard import Send
from support.gateway import Door
from support.listener import EventListener, Told
from support.lone_gateway import serving
from support.tasks import claim, register, submit, success
from support.valkey import Valkey, valkey_server
from support.waiting import wait_until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey_server(tmp_path_factory.mktemp("store"), appendonly="yes") as server:
        yield server


@pytest.fixture(scope="module")
def door(server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with serving(server.url, tmp_path_factory.mktemp("gateway") / "log") as door:
        yield door


@pytest.fixture(scope="module")
def bold(server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """One that allows chaos."""
    with serving(server.url, tmp_path_factory.mktemp("bold") / "log", allow_chaos="true") as door:
        yield door


@pytest.fixture
def store(server: Valkey) -> Iterator[Store]:
    with server.client() as client:
        client.delete(keys.EVENTS, keys.QUEUE)
    store = Store.connect(server.url)
    yield store
    store.close()


def run(server: Valkey, store: Store, count: int, function: FunctionId | None = None) -> list[TaskId]:
    """``count`` tasks from submit to end, each step in one script call: three events each."""
    ids = submit(server.url, function or register(server.url), *[b""] * count)
    store.settle("a", [success(task) for task in claim(store, count)])
    return ids


def kept(server: Valkey) -> list[str]:
    """The ids of all events that the store has."""
    with server.client() as client:
        entries = [Entry(name.decode(), fields) for name, fields in client.xrange(keys.EVENTS)]
    return [str(Place(entry.end.ms, entry.end.sequence, n)) for entry in entries for n in range(len(entry.events()))]


def ids(events: list[Told]) -> list[str]:
    return [event.id for event in events]


def test_who_listens_is_told_each_move_as_it_is_made(server: Valkey, store: Store, door: Door) -> None:
    run(server, store, 1)
    with EventListener(door.port) as listener:
        assert listener.status == 200
        [task_id] = run(server, store, 1)
        store.record("tree", 1, [encode_event(ChildEvent(5.5, "child.down", "root/a", 2, 7, "exit:3", "here"))])

        events = listener.until(4)

    assert [(event.kind, event.data.get("move") or event.data["event"]) for event in events] == [
        ("task", "submit"),
        ("task", "claim"),
        ("task", "succeed"),
        ("child", "child.down"),
    ], "and nothing from before"
    assert events[1].data == {
        "kind": "task",
        "at": Place.parse(events[1].id).ms / 1000,
        "task_id": task_id,
        "move": "claim",
        "attempt": 1,
        "worker": "worker-0@host/1",
        "why": "",
    }
    assert events[3].data["at"] == 5.5


def test_it_goes_on_in_the_middle_of_what_one_script_did(server: Valkey, store: Store, door: Door) -> None:
    run(server, store, 10)
    everything = kept(server)
    with EventListener(door.port, "?after=0") as listener:
        assert ids(listener.until(30)) == everything

    for at in (3, 9, 10, 25):
        with EventListener(door.port, "?after=0", {"Last-Event-ID": everything[at]}) as listener:
            assert ids(listener.until(29 - at)) == everything[at + 1 :], "the header counts, not the query"


def test_it_goes_on_exactly_when_the_gateway_has_been_killed_and_started_again(
    server: Valkey, store: Store, tmp_path: Path
) -> None:
    with serving(server.url, tmp_path / "first") as first:
        port = first.port
        with EventListener(port) as listener:
            assert listener.status == 200
            run(server, store, 3)
            seen = list(listener.until(5))
            first.process.send_signal(signal.SIGKILL)
            run(server, store, 70)

    with (
        serving(server.url, tmp_path / "second", port) as second,
        EventListener(second.port, headers={"Last-Event-ID": seen[-1].id}) as listener,
    ):
        run_after = 3
        wait_until(lambda: listener.status == 200, 5, "it answers")
        run(server, store, run_after)
        everything = kept(server)
        seen += listener.until(len(everything) - len(seen))

    assert ids(seen) == everything
    assert len(everything) == 3 * (3 + 70 + run_after)


FAULT = {"fault": "freeze", "target": "root/workers/worker-0", "phase": "injected", "detail": "for 5 s"}


def test_a_fault_on_purpose_is_an_event_among_the_others(server: Valkey, store: Store, bold: Door) -> None:
    with EventListener(bold.port) as listener:
        assert listener.status == 200
        [task_id] = run(server, store, 1)

        injected = bold.post("/v1/events/faults", FAULT | {"at": 5.5})
        undone = bold.post("/v1/events/faults", FAULT | {"phase": "undone", "detail": ""})

        *moves, first, second = listener.until(5)
        assert [event.data["task_id"] for event in moves] == [task_id] * 3
        assert (injected.status_code, injected.json()) == (200, {"id": first.id})
        assert undone.json() == {"id": second.id}
        assert first.kind == second.kind == "fault"
        assert first.data == FAULT | {"kind": "fault", "at": 5.5, "host": socket.gethostname()}
        assert abs(second.data["at"] - time.time()) < 30
        assert bold.get("/v1/chaos").json() == {"allowed": True, "tree": ""}


def test_a_tree_that_is_not_there_for_it_takes_note_of_no_fault(server: Valkey, store: Store, door: Door) -> None:
    answer = door.post("/v1/events/faults", FAULT)

    assert (answer.status_code, answer.json()["code"]) == (403, "chaos_not_allowed")
    assert "--allow-chaos" in answer.json()["detail"]
    assert door.get("/v1/chaos").json() == {"allowed": False, "tree": ""}
    assert kept(server) == []


@pytest.mark.parametrize(
    "misfit",
    [
        {"fault": ""},
        {"target": ""},
        {"phase": "planned"},
        {"at": -1.0},
        {"at": "now"},
        {"detail": "x" * 2001},
        {"a": 1},
    ],
    ids=str,
)
def test_a_fault_that_says_something_else_is_refused(
    server: Valkey, store: Store, misfit: dict[str, object], bold: Door
) -> None:
    answer = bold.post("/v1/events/faults", FAULT | misfit)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert kept(server) == []


def test_one_task_can_be_listened_to(server: Valkey, store: Store, door: Door) -> None:
    function = register(server.url)
    [wanted, _] = submit(server.url, function, b"", b"")
    with EventListener(door.port, f"?after=0&task_id={wanted}") as listener:
        listener.until(1)
        store.settle("a", [success(task) for task in claim(store, 2)])
        store.record("one", 1, [encode_event(ChildEvent(1.0, "child.up", "root/a", 1))])
        run(server, store, 1)

        events = listener.until(3)

    assert [(event.data["task_id"], event.data["move"]) for event in events] == [
        (wanted, "submit"),
        (wanted, "claim"),
        (wanted, "succeed"),
    ]


def test_a_hundred_listeners_hear_the_same_by_one_reader_and_disturb_nobody(
    server: Valkey, store: Store, door: Door
) -> None:
    with ExitStack() as stack:
        listeners = [stack.enter_context(EventListener(door.port)) for _ in range(100)]
        assert {listener.status for listener in listeners} == {200}
        with server.client() as client:
            reading = [one for one in client.client_list() if one["cmd"] == "xread"]
        longest_s = 0.0
        for _ in range(20):
            run(server, store, 50)
            began = time.monotonic()
            assert door.get("/healthz").status_code == 200
            longest_s = max(longest_s, time.monotonic() - began)
        heard = [ids(listener.until(3000, within=30)) for listener in listeners]

    assert len(reading) == 1
    assert all(one == kept(server) for one in heard)
    assert longest_s < 2.0, "others are answered meanwhile; alone it is a few ms"


def test_who_reads_too_slowly_is_let_go_with_a_last_word_and_nobody_else_notices(
    server: Valkey, store: Store, door: Door
) -> None:
    function = register(server.url)
    with EventListener(door.port, slow=True) as slow, EventListener(door.port) as brisk:
        assert (slow.status, brisk.status) == (200, 200)
        before = door.memory_bytes()
        for count in range(1, 5 * MAX_BEHIND // 1500 + 1):
            run(server, store, 500, function)
            brisk.until(1500 * count)
            for _ in range(8):  # a seventh of it: who takes nothing at all for 30 s is cut off without a word
                slow.read(0.01)
        grown = door.memory_bytes() - before
        last = slow.until_end(within=60)[-1]

    assert ids(brisk.events()) == kept(server)
    assert (last.kind, last.data["reason"]) == ("end", "too_slow")
    assert "Last-Event-ID" in last.data["text"]
    assert len(slow.events()) < len(brisk.events())
    assert grown < 200 * 1024 * 1024


def test_a_stop_is_told_and_waits_for_nobody_who_does_not_read(server: Valkey, store: Store, tmp_path: Path) -> None:
    with (
        serving(server.url, tmp_path / "log") as door,
        EventListener(door.port) as listener,
        EventListener(door.port, "?after=0", slow=True) as stuck,
    ):
        assert (listener.status, stuck.status) == (200, 200)
        for _ in range(20):
            run(server, store, 500)
        listener.until(20 * 1500)
        began = time.monotonic()
        door.process.send_signal(signal.SIGTERM)

        last = listener.until_end()[-1]

        assert door.process.wait(9) == 0, "less than the ten seconds of grace"
        assert time.monotonic() - began < 8
    assert (last.kind, last.data["reason"]) == ("end", "stopping")


def test_the_store_may_be_away_for_a_while(tmp_path: Path) -> None:
    with (
        valkey_server(tmp_path, appendonly="yes", appendfsync="always") as server,
        serving(server.url, tmp_path / "log") as door,
        EventListener(door.port) as listener,
    ):
        assert listener.status == 200
        for _ in range(2):
            store = Store.connect(server.url)
            run(server, store, 2)
            store.close()
            server.end()
            server.start()

        assert ids(listener.until(12)) == kept(server)


def test_who_was_away_for_too_long_is_told_of_the_gap(server: Valkey, store: Store, door: Door) -> None:
    run(server, store, 2)
    old = kept(server)[0]
    with server.client() as client:
        client.xtrim(keys.EVENTS, maxlen=1, approximate=False)
    with EventListener(door.port, headers={"Last-Event-ID": old}) as listener:
        events = listener.until(3)

    assert [event.kind for event in events] == ["gap", "task", "task"]
    assert events[0].data["after"] == old


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("?after=yesterday", {}, 422),
        ("", {"Last-Event-ID": "1.2.3"}, 422),
        ("?task_id=7", {}, 422),
        ("", {"Host": "evil.example"}, 421),
        ("", {"Origin": "http://evil.example"}, 403),
    ],
)
def test_what_cannot_be_is_refused(door: Door, query: str, headers: dict[str, str], status: int) -> None:
    with EventListener(door.port, query, headers) as listener:
        assert listener.status == status


def test_while_the_store_is_away_a_new_listener_is_told_to_come_back(tmp_path: Path) -> None:
    with valkey_server(tmp_path) as server, serving(server.url, tmp_path / "log") as door:
        server.end()
        with EventListener(door.port) as listener:
            assert listener.status == 503


def test_a_listener_that_leaves_takes_the_reader_with_it(server: Valkey, door: Door) -> None:
    def readers() -> int:
        with server.client() as client:
            return sum(one["cmd"] == "xread" for one in client.client_list())

    with EventListener(door.port) as listener:
        assert listener.status == 200
        assert wait_until(readers, 5, "it reads") == 1
        listener.socket.shutdown(socket.SHUT_RDWR)

        wait_until(lambda: readers() == 0, 10, "nobody reads for nobody")


async def stream_into(server: Valkey, send: Send, seen: asyncio.Event, cut: Callable[[object], None]) -> None:
    """Run one stream in this process, as an ASGI server would, for somebody who stays until ``seen`` is set."""
    hub = Hub(Annals.connect(server.url))
    hub.cut = cut

    async def receive() -> dict[str, Any]:
        await seen.wait()
        return {"type": "http.disconnect"}

    async with asyncio.timeout(10):
        await EventStream(hub, None, "")({"type": "http", "client": ("me", 1)}, receive, send)
    await hub.close()


def test_silence_is_broken_by_comments(server: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "BEAT_S", 0.05)
    seen, sent = asyncio.Event(), list[bytes]()

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message.get("body", b""))
        if sent.count(BEAT) == 2:
            seen.set()

    asyncio.run(stream_into(server, send, seen, lambda _: None))

    assert sent.count(BEAT) >= 2


def test_a_connection_that_takes_nothing_at_all_is_broken(server: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "STUCK_S", 0.05)
    seen, broken = asyncio.Event(), list[object]()

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    def cut(peer: object) -> None:
        broken.append(peer)
        seen.set()

    asyncio.run(stream_into(server, send, seen, cut))

    assert broken[0] == ("me", 1)
