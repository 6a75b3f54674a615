"""Puppets: actors that do what a test tells them, and write down what they see."""

import asyncio
import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec

from regrow.runtime.actor import Actor, Down
from regrow.runtime.async_actor import AsyncActor
from regrow.runtime.errors import ConfigError, RegrowError
from regrow.runtime.spec import ExitReason, ReasonKind

# One process per generation, each in a session of its own, whose first ancestor is gone at once: daemons.
DETACH = """
import os, signal, sys
if os.fork():
    os._exit(0)
for _ in range(int(sys.argv[1])):
    os.setsid()
    if os.fork():
        signal.pause()
        os._exit(0)
signal.pause()
"""


class PuppetArguments(msgspec.Struct, frozen=True):
    """``start``: ok, raise, config, hang, exit (with code 3) or silent (never acknowledges)."""

    start: str = "ok"
    works_from: int = 0  # incarnations below this one end with exit code 3 in their init
    heeds_stop: bool = True
    drain_s: float = 0.0
    has_grandchild: bool = False
    daemons: int = 0  # processes, each the child of the one before, that it detaches from the tree
    is_asked_late: bool = False  # a SIGTERM comes when the actor has ended and its interpreter has not
    journal: str = ""  # file that takes one line per start and stop


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """Answered with Told."""

    text: str = ""


class Told(msgspec.Struct, frozen=True):
    """What a puppet has seen."""

    text: str
    pid: int
    incarnation: int
    received: int
    grandchild: int | None
    downs: tuple[tuple[int, str, str], ...]


class Die(msgspec.Struct, frozen=True, tag="die"):
    """``how``: normal, shutdown, raise, exit:N or a signal's name."""

    how: str


class Hang(msgspec.Struct, frozen=True, tag="hang"):
    """Block the loop."""

    seconds: float


class Relay(msgspec.Struct, frozen=True, tag="relay"):
    """Ask another actor; answered with Told whose text is its text, or the error's code."""

    path: str
    timeout_s: float
    text: str = ""
    hang_s: float = 0.0
    how: str = ""


class Watch(msgspec.Struct, frozen=True, tag="watch"):
    """Monitor another actor."""

    path: str
    forget: bool = False


class Flood(msgspec.Struct, frozen=True, tag="flood"):
    """Cast ``count`` messages to another actor."""

    path: str
    count: int


PuppetMessage = Ask | Die | Hang | Relay | Watch | Flood


class Puppet(Actor[PuppetArguments, PuppetMessage]):
    """Does as it is told."""

    arguments_type = PuppetArguments
    message_type = PuppetMessage
    role = "puppet"
    mailbox_size = 100

    def on_start(self) -> None:
        self.received = 0
        self.downs: list[Down] = []
        self.grandchild = subprocess.Popen(["sleep", "1000"]) if self.arguments.has_grandchild else None
        if self.arguments.daemons:
            subprocess.run([sys.executable, "-c", DETACH, str(self.arguments.daemons)], check=True)
        ask_late(self)
        self.write("start")
        if self.context.incarnation < self.arguments.works_from:
            raise SystemExit(3)
        match self.arguments.start:
            case "raise":
                raise ValueError("this puppet does not start")
            case "config":
                raise ConfigError("no such string: tie one on")
            case "hang":
                time.sleep(1000)
            case "exit":
                raise SystemExit(3)
            case "silent":
                self.context.defer_ready()

    def write(self, word: str) -> None:
        if self.arguments.journal:
            with Path(self.arguments.journal).open("a") as file:
                file.write(f"{word} {self.context.name}\n")

    def on_message(self, message: PuppetMessage, _sender: str) -> object | None:
        self.received += 1
        match message:
            case Die(how):
                die(self, how)
            case Hang(seconds):
                time.sleep(seconds)
            case Relay():
                return self.told(self.relay(message))
            case Watch(path, forget):
                ref = self.context.monitor(path)
                if forget:
                    self.context.demonitor(ref)
            case Flood(path, count):
                for _ in range(count):
                    self.context.cast(path, Ask())
            case Ask("refuse me"):
                raise ConfigError("as you wish")
            case Ask("later"):
                caller = self.context.defer_answer()
                self.context.after(0.05, lambda: self.context.answer(caller, self.told("later")))
            case Ask("never"):
                self.context.defer_answer()
            case Ask(text):
                return self.told(text)
        return None

    def relay(self, message: Relay) -> str:
        question: PuppetMessage = Ask(message.text)
        if message.how:
            question = Die(message.how)
        elif message.hang_s:
            question = Hang(message.hang_s)
        try:
            answer = self.context.call(message.path, question, message.timeout_s)
        except RegrowError as error:
            return f"{error.code} {error}"
        return answer["text"] if answer else ""

    def told(self, text: str) -> Told:
        downs = tuple((down.ref, down.path, str(down.reason)) for down in self.downs)
        grandchild = self.grandchild.pid if self.grandchild else None
        return Told(text, os.getpid(), self.context.incarnation, self.received, grandchild, downs)

    def on_down(self, down: Down) -> None:
        self.downs.append(down)

    def on_stop(self, _grace_s: float | None) -> None:
        self.write("stop")
        if self.arguments.heeds_stop:
            self.context.after(self.arguments.drain_s, self.context.exit)

    def on_end(self) -> None:
        if self.arguments.heeds_stop and self.grandchild is not None:
            self.grandchild.returncode = 0  # left behind on purpose; no warning about it


def ask_late(actor: Actor | AsyncActor) -> None:
    """See ``is_asked_late``; the process has a second thread by then, as any actor may."""
    if actor.arguments.is_asked_late:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        atexit.register(os.kill, os.getpid(), signal.SIGTERM)


def die(actor: Actor, how: str) -> None:
    """End in one of the ways there are."""
    if how == "raise":
        raise ValueError("told to")
    if how in ("normal", "shutdown"):
        actor.context.exit(ExitReason(ReasonKind(how)))
    elif how.startswith("exit:"):
        raise SystemExit(int(how.removeprefix("exit:")))
    else:
        os.kill(os.getpid(), signal.Signals[how])


class AsyncPuppet(AsyncActor[PuppetArguments, PuppetMessage]):
    """The same, in asyncio, as far as the tests need it."""

    arguments_type = PuppetArguments
    message_type = PuppetMessage
    role = "puppet"

    async def on_start(self) -> None:
        self.received = 0
        self.downs: list[Down] = []
        ask_late(self)

    async def on_message(self, message: PuppetMessage, _sender: str) -> object | None:
        self.received += 1
        match message:
            case Die("raise"):
                raise ValueError("told to")
            case Hang(seconds):
                time.sleep(seconds)  # noqa: ASYNC251 (a loop that hangs is what is wanted)
            case Watch(path):
                self.context.monitor(path)
            case Relay(path, timeout_s, text):
                try:
                    answer = await self.context.call(path, Ask(text), timeout_s)
                    return self.told(answer["text"])
                except RegrowError as error:
                    return self.told(error.code)
            case Ask("slow"):
                await asyncio.sleep(1000)
            case Ask(text):
                return self.told(text)
        return None

    def told(self, text: str) -> Told:
        downs = tuple((down.ref, down.path, str(down.reason)) for down in self.downs)
        return Told(text, os.getpid(), self.context.incarnation, self.received, None, downs)

    async def on_down(self, down: Down) -> None:
        self.downs.append(down)
