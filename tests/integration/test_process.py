"""One actor process, with the test as its supervisor: what it is given, how it is stopped, how its end is told."""

import os
import random
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from regrow.runtime import wire
from regrow.runtime.link import Router, bind_router
from regrow.runtime.process import Process, Start
from regrow.runtime.spec import ExitReason
from support.actors import Ask, Die, PuppetArguments, Relay, Told
from support.processes import is_alive
from support.waiting import wait_until


class Upbringing:
    """A supervisor's part, played by hand."""

    def __init__(self, directory: Path) -> None:
        self.router: Router = bind_router(f"ipc://{directory}/s-{os.urandom(4).hex()}")
        self.process: Process | None = None
        self.heard: list[wire.FromChild] = []
        self.identity = b""

    def start(self, actor: str = "support.actors:Puppet", beat_s: float = 0.05, **arguments: object) -> Process:
        order = Start(
            actor=actor,
            arguments=msgspec.msgpack.encode(PuppetArguments(**arguments)),  # type: ignore[arg-type]
            path="root/child",
            incarnation=3,
            tree="tree",
            run_directory="/nowhere",
            link=self.router.address,
            beat_s=beat_s,
            grace_s=1.0,
            log_level="info",
            import_path=tuple(sys.path),
        )
        self.process = Process(order, {"PUPPET": "strings"}, ())
        return self.process

    def hears(self, kind: type) -> list[wire.FromChild]:
        for identity, frame in self.router.receive():
            self.identity = identity
            self.heard.append(wire.read_from_child(frame, "child"))
        return [message for message in self.heard if isinstance(message, kind)]

    def wait(self, kind: type, count: int = 1) -> list[wire.FromChild]:
        return wait_until(lambda: found if len(found := self.hears(kind)) >= count else [], 10, f"{kind} is heard")

    def say(self, frame: bytes) -> None:
        assert self.router.send(self.identity, frame)

    def ask(self, message: msgspec.Struct) -> Told:
        self.heard.clear()
        self.say(wire.encode(wire.Call("root/child", "root/test", 1, msgspec.msgpack.encode(message))))
        reply = self.wait(wire.Reply)[0]
        assert isinstance(reply, wire.Reply)
        return msgspec.msgpack.decode(reply.body, type=Told)

    def end(self) -> ExitReason:
        assert self.process is not None
        assert select.select([self.process.pidfd], [], [], 10)[0], "it ends"
        process, self.process = self.process, None
        return process.reap()


@pytest.fixture
def parent(temporary_directory: Path) -> Iterator[Upbringing]:
    upbringing = Upbringing(temporary_directory)
    yield upbringing
    if upbringing.process is not None:
        upbringing.process.kill_group()
        upbringing.process.reap()
    upbringing.router.close()


@pytest.mark.parametrize("actor", ["support.actors:Puppet", "support.actors:AsyncPuppet"])
def test_it_says_hello_then_ready_then_beats(parent: Upbringing, actor: str) -> None:
    process = parent.start(actor)

    parent.wait(wire.Beat, count=3)

    assert [type(message).__name__ for message in parent.heard[:3]] == ["Hello", "Ready", "Beat"]
    assert parent.heard[0] == wire.Hello("puppet")
    assert parent.identity == f"child:3:{process.pid}".encode()
    assert parent.ask(Ask("hello")) == Told("hello", process.pid, 3, 1, None, ())


@pytest.mark.parametrize("actor", ["support.actors:Puppet", "support.actors:AsyncPuppet"])
@pytest.mark.parametrize("way", ["message", "signal", "interrupt", "both"])
def test_a_stop_message_or_a_signal_each_suffices(parent: Upbringing, actor: str, way: str) -> None:
    process = parent.start(actor)
    parent.wait(wire.Ready)

    if way in ("message", "both"):
        parent.say(wire.encode(wire.Stop(1.0)))
    if way in ("signal", "both"):
        process.signal(signal.SIGTERM)
    if way == "interrupt":
        process.signal(signal.SIGINT)

    assert str(parent.end()) == "shutdown"


@pytest.mark.parametrize("actor", ["support.actors:Puppet", "support.actors:AsyncPuppet"])
def test_a_signal_that_comes_when_it_has_ended_already_changes_nothing(parent: Upbringing, actor: str) -> None:
    parent.start(actor, is_asked_late=True)
    parent.wait(wire.Ready)

    parent.say(wire.encode(wire.Stop(1.0)))

    assert str(parent.end()) == "shutdown"


@pytest.mark.parametrize("actor", ["support.actors:Puppet", "support.actors:AsyncPuppet"])
def test_noise_from_its_supervisor_is_dropped_by_an_actor(parent: Upbringing, actor: str) -> None:
    chance = random.Random(5)
    parent.start(actor)
    parent.wait(wire.Ready)

    for _ in range(200):
        parent.say(chance.randbytes(chance.randrange(100)))
    parent.say(b"")
    parent.say(wire.encode(wire.Beat()))
    parent.say(wire.encode(wire.Reply("root/child", 99, b"nobody asked")))

    assert parent.ask(Ask("still here")).text == "still here"


def test_a_stop_while_it_waits_for_an_answer_is_served_after_it(parent: Upbringing) -> None:
    parent.start()
    parent.wait(wire.Ready)
    asked_at = time.monotonic()
    parent.say(wire.encode(wire.Cast("root/child", "root/test", msgspec.msgpack.encode(Relay("root/x", 0.3)))))
    parent.wait(wire.Call)

    parent.say(wire.encode(wire.Stop(1.0)))

    assert str(parent.end()) == "shutdown"
    assert 0.3 <= time.monotonic() - asked_at < 3


def test_the_last_words_carry_the_traceback_though_nobody_read_its_frames(parent: Upbringing) -> None:
    parent.start(start="raise")

    reason = parent.end()

    assert str(reason) == "exception:ValueError"
    assert "in on_start" in reason.note
    assert reason.note.rstrip().endswith("this puppet does not start")


def test_a_class_that_cannot_be_loaded_is_told_in_one_line(parent: Upbringing) -> None:
    parent.start("no.such.module:Actor")

    reason = parent.end()

    assert str(reason) == "exception:ConfigError"
    assert reason.note == "actor no.such.module:Actor cannot be loaded: No module named 'no'"


def test_a_module_that_fails_when_loaded_is_told_with_its_traceback(parent: Upbringing, tmp_path: Path) -> None:
    script = tmp_path / "broken.py"
    script.write_text("1 / 0\n")
    parent.start(f"{script}:Actor")

    assert str(parent.end()) == "exception:ZeroDivisionError"


def test_a_process_that_never_ran_python_far_is_told_by_its_signal(parent: Upbringing) -> None:
    process = parent.start()

    process.signal(signal.SIGTERM)

    assert str(parent.end()) in ("signal:SIGTERM", "shutdown")


def test_reaping_kills_what_is_left_in_the_group(parent: Upbringing) -> None:
    parent.start(has_grandchild=True)
    parent.wait(wire.Ready)
    grandchild = parent.ask(Ask()).grandchild
    assert grandchild is not None

    parent.say(wire.encode(wire.Call("root/child", "root/test", 2, msgspec.msgpack.encode(Die("normal")))))

    assert str(parent.end()) == "normal"
    wait_until(lambda: not is_alive(grandchild), 2, "the grandchild is gone")


def test_it_has_its_own_session_and_group_and_a_title(parent: Upbringing) -> None:
    process = parent.start()
    parent.wait(wire.Ready)

    assert os.getsid(process.pid) == os.getpgid(process.pid) == process.pid
    assert Path(f"/proc/{process.pid}/cmdline").read_bytes().startswith(b"regrow: root/child")
