"""A dispatcher's core with the words that tests use for it."""

from collections.abc import Iterable
from typing import Any

from regrow.actors import stimuli, wire
from regrow.actors.dispatch import Dispatch
from regrow.actors.reception import Identity
from regrow.actors.records import Held
from regrow.actors.stimuli import Effect
from regrow.actors.task import Claimed, Digest, Outcome, TaskId, Verdict, WorkerId
from regrow.actors.wire import Lease, Mode

F = Digest("f" * 8)


def hello(name: str, slots: int = 2, mode: Mode = Mode.PUSH, **more: object) -> wire.Hello:
    """The first word of a worker."""
    return wire.Hello(wire.PROTOCOL, WorkerId(name), name, "host", 1, mode, slots, "3.11.4", "0.4", **more)  # type: ignore[arg-type]


def claimed(number: int, worker: str, digest: Digest = F, attempt: int = 1) -> Claimed:
    """A task from the store."""
    return Claimed(TaskId(f"t{number}"), attempt, WorkerId(worker), digest, b"p")


def held(number: int, worker: str, attempt: int = 1) -> Held:
    """A lease as the store has it."""
    return Held(TaskId(f"t{number}"), attempt, WorkerId(worker), F)


def lease(number: int, attempt: int = 1) -> Lease:
    """A lease by name."""
    return Lease(TaskId(f"t{number}"), attempt)


def outcome(number: int, ran_s: float = 0.001, attempt: int = 1) -> Outcome:
    """A value."""
    return Outcome(TaskId(f"t{number}"), attempt, b"v", None, ran_s)


class Bench:
    """One core and a clock that stands still; keeps every effect until it is asked for."""

    def __init__(self, *, ready: bool = True, held: Iterable[Held] = (), tree: str = "") -> None:
        self.core = Dispatch(Identity("d/1", tree, "3.11"))
        self.now = 100.0
        self.effects: list[Effect] = []
        if ready:
            self.feed(stimuli.StoreBack(list(held)))

    def feed(self, *happened: stimuli.Stimulus) -> list[Effect]:
        """Fold these; what came of them."""
        effects = self.core.fold(happened, self.now)
        self.core.leases.check()
        self.effects += effects
        return effects

    def say(self, worker: str, *messages: wire.FromWorker) -> list[Effect]:
        """A worker speaks."""
        return self.feed(*(stimuli.WorkerSaid(WorkerId(worker), message) for message in messages))

    def give(self, *numbers: int, to: str, left: int = 0) -> list[Effect]:
        """The claim in flight is answered with these tasks."""
        return self.feed(stimuli.ClaimAnswered([claimed(number, to) for number in numbers], left))

    def until(self, now: float) -> list[Effect]:
        """Time passes; the deadline that comes by is told."""
        self.now = now
        return self.feed(stimuli.Tick())

    def settled(self, verdict: Verdict = Verdict.STORED) -> list[Effect]:
        """The batch in flight is written."""
        batch = [effect for effect in self.effects if isinstance(effect, stimuli.Settle)][-1]
        return self.feed(stimuli.SettleAnswered([verdict] * len(batch.settlements)))


def sent(effects: Iterable[Effect], kind: type) -> list[tuple[str, Any]]:
    """To whom messages of this kind were sent, and what."""
    return [(it.worker, it.message) for it in effects if isinstance(it, stimuli.Send) and isinstance(it.message, kind)]


def ran(effects: Iterable[Effect]) -> list[tuple[str, str]]:
    """Worker and task of everything that was sent to run."""
    return [(who, task.task_id) for who, run in sent(effects, wire.Run) for task in run.tasks]


def moves(effects: Iterable[Effect]) -> list[tuple[str, str]]:
    """Task and move of everything that was to be settled."""
    return [
        (it.task_id, it.move) for effect in effects if isinstance(effect, stimuli.Settle) for it in effect.settlements
    ]


def claims(effects: Iterable[Effect]) -> list[stimuli.Claim]:
    """Claims that were asked for."""
    return [effect for effect in effects if isinstance(effect, stimuli.Claim)]
