"""Core: what a dispatcher answers to its workers, and when it holds one for lost.

- A worker is lost when its supervisor says so, when its successor speaks from the same place in the tree, when it
  takes its leave, or after one window of silence. What a lost worker says later is answered WhoAreYou; after its
  Hello, what it still holds is dropped. Outcomes are settled whoever brings them: the store's fence judges.
- A dispatcher that was itself suspended excuses everyone before it judges anyone.
- Until the store has answered for the first time nobody is welcomed, because leases of a former incarnation are not
  known yet: what workers say waits (``open`` takes it in), only their beats are answered.
- A worker that has said more than was heard lost a message on the way: it is asked who it is, and its Hello tells what it has.
- A function that workers lack is read once for all who ask while it is being read.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, assert_never

import msgspec

from regrow.actors import wire
from regrow.actors.events import Event
from regrow.actors.leases import Leases
from regrow.actors.placement import Seat
from regrow.actors.pressure import Pressures
from regrow.actors.stimuli import Demonitor, Effect, Fields, Monitor, Report, Send, WorkerSaid
from regrow.actors.task import Digest, WorkerId
from regrow.runtime.liveness import Liveness
from regrow.runtime.spec import Heartbeat

LEFT: Final = "left"
RESTARTED: Final = "restarted"
MAX_EARLY: Final = 10_000  # messages kept until the store has answered for the first time
SILENT: Final = "silent"


class Identity(msgspec.Struct, frozen=True):
    """Who this dispatcher is.  ``token`` is unique per incarnation; ``tree`` is "" outside a supervision tree."""

    token: str
    tree: str = ""
    python: str = ""  # major.minor
    heartbeat: Heartbeat = Heartbeat()


@dataclass(slots=True)
class Reception:
    """The conversation with all workers.  ``effects`` is shared with its owner.  Times are monotonic seconds."""

    identity: Identity
    leases: Leases
    effects: list[Effect]
    is_open: bool = False
    wanted: list[Digest] = field(default_factory=list)  # functions to read, not asked for yet
    _waiting: dict[Digest, set[WorkerId]] = field(default_factory=dict)  # functions not here yet, and for whom
    _early: list[WorkerSaid] = field(default_factory=list)
    pressures: Pressures = field(init=False)
    _liveness: Liveness = field(init=False)

    def __post_init__(self) -> None:
        self.pressures = Pressures(self.leases.seats, self.effects, self.send)
        self._liveness = Liveness(self.identity.heartbeat)

    def hear(self, said: WorkerSaid, now: float) -> None:
        """A worker spoke."""
        seat = self.leases.seats.get(said.worker)
        if seat is not None:
            if seat.heard is not None and not isinstance(said.message, wire.Beat):
                seat.heard += 1
            self._liveness.beat(said.worker, now)
            seat.is_reachable = True
        if isinstance(said.message, wire.Beat):
            self._beat(said.worker, seat, said.message, now)
        elif not self.is_open:
            if len(self._early) < MAX_EARLY:  # who is not heard is asked later, and repeats what it has
                self._early.append(said)
        else:
            self._listen(said.worker, seat, said.message, now)

    def open(self, now: float) -> None:
        """Leases of a former incarnation are known: take in what was said so far."""
        self.is_open = True
        early, self._early = self._early, []
        for said in early:
            self.hear(said, now)

    def lose(self, worker: WorkerId, reason: str, *, is_watched: bool = True) -> None:
        """This worker is gone; unknown ones are fine.  ``is_watched``: its monitor, if any, has not fired."""
        seat = self.leases.seats.get(worker)
        if seat is None:
            return
        lost = self.leases.lose(worker)
        self._liveness.forget(worker)
        if is_watched and self._is_kin(seat.hello):
            self.effects.append(Demonitor(worker))
        is_orderly = reason == LEFT and not lost
        fields: Fields = {"worker": worker, "reason": reason} | ({} if is_orderly else {"leases": lost})
        self.effects.append(
            Report(Event.WORKER_LEFT if is_orderly else Event.WORKER_LOST, fields, is_warning=not is_orderly)
        )

    def undelivered(self, worker: WorkerId, run: wire.Run) -> None:
        """These tasks never left: they are free to go elsewhere, and nothing more is sent there until it speaks."""
        seat = self.leases.seats.get(worker)
        if seat is None:
            return
        seat.is_reachable = False
        self.leases.give_back(seat, [wire.Lease(task.task_id, task.attempt) for task in run.tasks])
        self.effects.append(Report(Event.RUN_UNDELIVERED, {"worker": worker, "tasks": len(run.tasks)}, is_warning=True))

    def judge(self, now: float) -> None:
        """Hold those for lost who have been silent for a whole window.  Call after all that has arrived was heard."""
        for worker in self._liveness.overdue(now):
            self.lose(WorkerId(worker), SILENT)

    def excuse(self, now: float) -> None:
        """Hold no silence before ``now`` against anyone."""
        self._liveness.excuse(now)

    def next_deadline(self) -> float | None:
        """When somebody will have been silent for too long."""
        return self._liveness.next_deadline()

    def send(self, worker: WorkerId, message: wire.ToWorker) -> None:
        """Say this to a worker, and count it."""
        seat = self.leases.seats.get(worker)
        if seat is not None and not isinstance(message, wire.Reflect):
            seat.sent += 1
        self.effects.append(Send(worker, message))

    def code_arrived(self, functions: dict[Digest, bytes | None]) -> None:
        """Pass functions on to those who asked, each in a message of its own."""
        for digest, code in functions.items():
            for worker in sorted(self._waiting.pop(digest, ())):
                self.send(worker, wire.Code({digest: code}))

    def _beat(self, worker: WorkerId, seat: Seat | None, beat: wire.Beat, now: float) -> None:
        if seat is None:
            self.send(worker, wire.WhoAreYou() if self.is_open else wire.Reflect())
            return
        seat.busy, seat.last_beat = beat.busy, now
        if beat.said != seat.heard and beat.said is not None:
            self._warn(Event.WORDS_LOST, {"worker": worker, "said": beat.said, "heard": seat.heard or 0})
            self.send(worker, wire.WhoAreYou())
        self.send(worker, wire.Reflect(seat.sent, seat.heard))

    def _listen(self, worker: WorkerId, seat: Seat | None, message: wire.FromWorker, now: float) -> None:
        if isinstance(message, wire.Hello):
            self._welcome(worker, message, now)
            return
        if isinstance(message, wire.Done):
            for outcome in message.outcomes:
                self.leases.end(worker, outcome)
        if seat is None:
            if not (isinstance(message, wire.Leaving) and message.is_final):
                self.send(worker, wire.WhoAreYou())
            return
        match message:
            case wire.Grant(tasks):
                seat.granted = tasks
            case wire.NeedCode(digests):
                self._want(worker, digests)
            case wire.GaveBack(names):
                seat.recall_not_before = 0.0 if names else seat.recall_not_before
                self._drop(worker, self.leases.give_back(seat, names))
            case wire.Pressure():
                self.pressures.hear(seat, message, now)
            case wire.Leaving(is_final, undone):
                seat.is_draining = True
                if is_final:
                    self.leases.part(worker, undone)
                    self.lose(worker, LEFT)
            case wire.Beat() | wire.Done():
                pass
            case _:
                assert_never(message)

    def _welcome(self, worker: WorkerId, hello: wire.Hello, now: float) -> None:
        problem = objection(worker, hello)
        if problem:
            self.send(worker, wire.Refused(problem))
            refusal: Fields = {"worker": worker, "reason": problem}
            self.effects.append(Report(Event.WORKER_REFUSED, refusal, is_warning=True))
            return
        self._supersede(hello)
        heartbeat = self.identity.heartbeat
        self.send(worker, wire.Welcome(self.identity.token, heartbeat.interval_s, heartbeat.window_s))
        seat = self._seat(hello, now)
        seat.heard, seat.sent = hello.said, 1  # the Welcome
        self.leases.present(seat, hello.done, now)
        strange = self.leases.present(seat, hello.held, now)
        self.leases.resend(seat, hello.held + hello.done)
        self._drop(worker, strange)

    def _seat(self, hello: wire.Hello, now: float) -> Seat:
        seat = self.leases.seats.get(hello.worker)
        if seat is not None:
            self.leases.seats.introduce(seat, hello)
            seat.is_draining, seat.granted, seat.pressure = hello.is_draining, 0, None
            return seat
        seat = Seat(hello, now, is_draining=hello.is_draining)
        self.leases.seats.add(seat)
        self._liveness.watch(hello.worker, self.identity.heartbeat, now)
        if self._is_kin(hello):
            self.effects.append(Monitor(hello.worker, hello.path))
        self._report_joined(hello)
        return seat

    def _report_joined(self, hello: wire.Hello) -> None:
        """A worker of another Python minor version works, but values pickled by value may not load elsewhere:

        a warning.
        """
        is_odd = bool(self.identity.python) and not f"{hello.python}.".startswith(f"{self.identity.python}.")
        fields: Fields = {"worker": hello.worker, "slots": hello.slots, "held": len(hello.held)}
        if is_odd:
            fields |= {"python": hello.python, "expected_python": self.identity.python}
        self.effects.append(Report(Event.WORKER_JOINED, fields, is_warning=is_odd))

    def _supersede(self, hello: wire.Hello) -> None:
        """A worker that speaks from the same place in a tree has taken the place of its former incarnation."""
        if not hello.path:
            return
        former = self.leases.seats.at(hello.tree, hello.path)
        if former is not None and former != hello.worker:
            self.lose(former, RESTARTED)

    def _want(self, worker: WorkerId, digests: Iterable[Digest]) -> None:
        for digest in digests:
            if digest not in self._waiting:
                self.wanted.append(digest)
            self._waiting.setdefault(digest, set()).add(worker)

    def _is_kin(self, hello: wire.Hello) -> bool:
        """Whether the worker lives in our own supervision tree, so that its supervisor can tell of its end."""
        return bool(hello.tree) and hello.tree == self.identity.tree

    def _drop(self, worker: WorkerId, names: list[wire.Lease]) -> None:
        if names:
            self.send(worker, wire.Drop(names))
            fields: Fields = {"worker": worker, "leases": len(names)}
            self.effects.append(Report(Event.LEASES_DROPPED, fields, is_warning=True))

    def _warn(self, event: Event, fields: Fields) -> None:
        self.effects.append(Report(event, fields, is_warning=True))


def objection(worker: WorkerId, hello: wire.Hello) -> str:
    """Why this worker cannot work here, and what to change; "" if it can."""
    if hello.protocol != wire.PROTOCOL:
        return (
            f"this worker speaks protocol {hello.protocol} and its dispatcher {wire.PROTOCOL}: "
            "install the same version of regrow on both sides"
        )
    if hello.worker != worker:
        return f"this worker calls itself {hello.worker} on the connection of {worker}: use the worker id as identity"
    if hello.slots < 1:
        return "this worker has no slots: start it with at least 1"
    return ""
