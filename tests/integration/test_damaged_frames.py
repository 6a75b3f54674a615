"""Ten thousand damaged frames on each link, both ways: they are dropped and counted, nobody falls, and real work goes on.

What a frame is damaged to is in ``support.damage``: flipped bits, cuts, repeats, splices of two frames.
"""

import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from zlib import crc32

import pytest

from regrow.actors import wire
from regrow.actors.limits import Limits
from regrow.actors.task import Digest, Failure, FailureKind, Outcome, State, TaskId, WorkerId
from regrow.actors.wire import Lease, Mode, TaskToRun
from regrow.runtime import child
from regrow.runtime import wire as control
from regrow.runtime.exchange import ROOT_SOCKET
from regrow.runtime.link import Dealer, connect_dealer
from regrow.runtime.spec import SupervisorSpec
from support import functions
from support.actors import Puppet, PuppetArguments
from support.damage import spoiled
from support.lone_dispatcher import ScriptedWorker, lone_dispatcher
from support.scripted import dispatcher, worker
from support.tasks import read, register, submit
from support.trees import RunningTree
from support.valkey import valkey_server
from support.waiting import wait_until

COUNT = 10_000
BEATS_S = 3.0  # a lost message is missed within one beat's interval of 1 s and one round trip; three on a busy machine
LEASES = [Lease(TaskId(f"8f7c0d0e-4c55-4d12-9d6a-00000000000{n}"), n) for n in range(1, 6)]
DIGEST = Digest("ab" * 32)


def words_of_a_worker(name: str) -> list[bytes]:
    """All that a worker says, with all its parts."""
    failure = Failure(FailureKind.RAISED, "ValueError", "no", "traceback", b"\x80pickle", ("builtins.ValueError",))
    value = random.Random(1).randbytes(300)
    outcomes = [
        Outcome(LEASES[0].task_id, 1, value, ran_s=0.1, printed=b"out", checksum=crc32(value)),
        Outcome(LEASES[1].task_id, 2, failure=failure),
    ]
    hello = wire.Hello(
        wire.PROTOCOL, WorkerId(name), name, "host", 7, Mode.PUSH, 2, "3.11.4", "0.4", LEASES, LEASES, said=1
    )
    messages: list[wire.FromWorker] = [
        hello,
        wire.Beat([0], 3),
        wire.Grant(4),
        wire.NeedCode([DIGEST]),
        wire.Done(outcomes),
        wire.GaveBack(LEASES),
        wire.Leaving(),
    ]
    return [wire.encode(message) for message in messages]


def words_of_a_dispatcher() -> list[bytes]:
    """All that a dispatcher says, but the Refused that ends a worker."""
    tasks = [
        TaskToRun(lease.task_id, lease.attempt, DIGEST, b"\x80\x05N.", 0.1, 7, Limits(wall_s=1.0), 5.0)
        for lease in LEASES
    ]
    messages: list[wire.ToWorker] = [
        wire.Welcome("d/1", 1.0, 3.0),
        wire.Run(tasks),
        wire.Code({DIGEST: b"code"}),
        wire.Ack(LEASES),
        wire.Recall(3),
        wire.Drop(LEASES),
        wire.Reflect(4, 5),
        wire.WhoAreYou(),
    ]
    return [wire.encode(message) for message in messages]


def resealed(frame: bytes) -> bytes:
    """With a checksum that fits: worse than any damage."""
    return control.sealed(frame[control.CHECK_BYTES :])


def damage(frames: list[bytes], count: int, seed: int = 3) -> list[bytes]:
    """So many frames that are not what was sent."""
    chance = random.Random(seed)
    return [spoiled(chance, chance.choice(frames), frames) for _ in range(count)]


def pour(send: Callable[[bytes], bool], frames: list[bytes], meanwhile: Callable[[], object] = lambda: None) -> None:
    """Send them all; a full queue is waited for.  ``meanwhile``: what keeps the others from taking us for dead."""
    for number, frame in enumerate(frames):
        if number % 200 == 0:
            meanwhile()
        if not send(frame):
            wait_until(lambda frame=frame: (meanwhile(), send(frame))[1], 10, "there is room again", every=0.001)  # type: ignore[misc]


def is_whole(frame: bytes) -> bool:
    """Did the damage hit nothing?"""
    return len(frame) >= control.CHECK_BYTES and resealed(frame) == frame


def dropped(log: str, actor: str = "") -> int:
    """Frames that a process (``actor``, where several write to the log) says it has dropped; it says so at each power of two."""
    lines = [
        line for line in log.splitlines() if "frame.dropped" in line and (not actor or f'"actor": "{actor}"' in line)
    ]
    totals = [line.split('"total":')[1].split(",")[0].strip(" }") for line in lines]
    return int(totals[-1]) if totals else 0


def test_a_dispatcher_drops_what_is_damaged_and_serves_on(tmp_path: Path) -> None:
    with (
        valkey_server(tmp_path) as server,
        lone_dispatcher(server.url, tmp_path) as lone,
        ScriptedWorker(lone.arguments.endpoint, slots=4) as good,
    ):
        frames = words_of_a_worker("noisy")
        noisy = connect_dealer(lone.arguments.endpoint, b"noisy")
        noisy.send(frames[0])
        poison = damage(frames, COUNT)
        expected = sum(not is_whole(frame) for frame in poison)
        worse = [resealed(frame) for frame in damage(frames, COUNT, seed=4)]
        good.hello()
        good.hear(wire.Welcome)

        pour(noisy.send, [*poison, *worse, wire.encode(wire.Leaving(is_final=True))], lambda: good.live(0.01))
        ids = submit(server.url, register(server.url), b"1", b"2", b"3")
        good.finish(good.tasks(3))

        wait_until(lambda: all(task.status is State.COMPLETED for task in read(server.url, *ids)), 10, "work goes on")
        assert lone.process is not None
        assert lone.process.poll() is None
        assert dropped(lone.log.read_text()) > expected / 2
        noisy.close()


def test_a_worker_drops_what_is_damaged_and_serves_on(tmp_path: Path) -> None:
    with dispatcher() as peer, worker(peer.address, tmp_path / "log") as process:
        hello = peer.expect(wire.Hello)
        frames = words_of_a_dispatcher()
        poison = damage(frames, COUNT)
        expected = sum(not is_whole(frame) for frame in poison)

        listen = partial(peer.listen, 0.0)
        pour(
            lambda frame: peer.router.send(peer.peer, frame), [frame for frame in poison if not is_whole(frame)], listen
        )
        [task_id] = peer.run(peer.task(functions.double, 21))

        assert peer.result(task_id) == 42
        assert process.poll() is None
        assert peer.peer == hello.worker.encode()
        assert dropped((tmp_path / "log").read_text()) > expected / 2


def test_a_worker_survives_what_nobody_would_send(tmp_path: Path) -> None:
    """Damaged, but with a checksum that fits: Runs of strangers, functions that are none, drops of nothing."""
    with dispatcher() as peer, worker(peer.address, tmp_path / "log") as process:
        peer.expect(wire.Hello)
        greetings = (b"welcome", b"who_are_you", b"reflect")  # after which it says Hello again, and takes no Run
        frames = [frame for frame in words_of_a_dispatcher() if not any(word in frame for word in greetings)]
        peer.codes = Unknown(peer.codes)

        listen = partial(peer.listen, 0.0)
        pour(
            lambda frame: peer.router.send(peer.peer, frame),
            [resealed(frame) for frame in damage(frames, 2000)],
            listen,
        )
        [task_id] = peer.run(peer.task(functions.double, 21))

        assert peer.result(task_id) == 42
        assert process.poll() is None


class Unknown(dict[Digest, bytes | None]):
    """Functions by digest; whatever else is asked for does not exist."""

    def __missing__(self, digest: Digest) -> bytes | None:
        return None


def test_a_lost_outcome_is_made_good_within_a_beat(tmp_path: Path) -> None:
    """The real dispatcher, with a worker that counts as a real one does."""
    with (
        valkey_server(tmp_path) as server,
        lone_dispatcher(server.url, tmp_path) as lone,
        ScriptedWorker(lone.arguments.endpoint) as played,
    ):
        played.hello()
        played.hear(wire.Welcome)
        [task_id] = submit(server.url, register(server.url), b"p")
        [task] = played.tasks(1)
        lost = wire.Done([Outcome(task.task_id, task.attempt, b"value", checksum=crc32(b"value"))])
        frame = bytearray(wire.encode(lost))
        frame[-1] ^= 1
        played.hello(held=[Lease(task.task_id, task.attempt)], said=1)

        began = time.monotonic()
        played.send_frame(bytes(frame))
        played.say(wire.Beat([], 2))
        played.hear(wire.WhoAreYou)
        played.hello(done=[Lease(task.task_id, task.attempt)], said=3)
        played.say(lost)

        wait_until(lambda: read(server.url, task_id)[0].status is State.COMPLETED, 10, "it is stored")
        assert time.monotonic() - began < BEATS_S
        assert lone.saw("words.lost")


def test_a_real_worker_that_lost_a_run_asks_for_it_within_a_beat(tmp_path: Path) -> None:
    with dispatcher() as peer, worker(peer.address, tmp_path / "log"):
        peer.expect(wire.Hello)
        peer.sent = 1
        task = peer.task(functions.double, 4)
        frame = bytearray(wire.encode(wire.Run([task])))
        frame[len(frame) // 2] ^= 4

        began = time.monotonic()
        peer.router.send(peer.peer, bytes(frame))
        peer.sent = 2
        hello = peer.expect(wire.Hello, within=10)

        assert time.monotonic() - began < BEATS_S
        assert hello.held == []
        peer.sent = None
        peer.run(task)
        assert peer.result(task.task_id) == 8


@pytest.fixture(scope="module")
def recorded() -> list[bytes]:
    """What a child says to its supervisor."""
    letters = [
        control.Hello("puppet"),
        control.Ready(),
        control.Beat(),
        control.Show((), {"a": "b"}),
        control.Call("root/a", "root/x", 3, b"\x81\xa4type\xa3ask"),
        control.Reply("root/a", 3, b"body"),
        control.Monitor("root/a", "root/x", 4),
        control.Forget("root/a", "root/x", 4),
    ]
    return [control.encode(letter) for letter in letters]


def test_a_supervisor_drops_what_is_damaged_and_its_children_live_on(recorded: list[bytes]) -> None:
    spec = SupervisorSpec((child("a", Puppet, PuppetArguments()),))
    with RunningTree(spec) as tree:
        dealers = [connect_dealer(f"ipc://{tree.directory / ROOT_SOCKET}", name) for name in (b"@guest", b"a:9:9")]
        poison = damage(recorded, COUNT)

        for dealer, frames in zip(dealers, (poison[::2], poison[1::2]), strict=True):
            pour(dealer.send, frames)
            pour(dealer.send, [resealed(frame) for frame in damage(recorded, 500, seed=5)])
        wait_until(lambda: dropped(tree.errors(), "root") > COUNT / 2, 20, "they are counted")

        close(dealers)
        assert tree.ask("root/a").incarnation == 1
        assert tree.process.poll() is None


def close(dealers: list[Dealer]) -> None:
    for dealer in dealers:
        dealer.close()
