"""Core: what each process of a tree on paper is told of its place there, and whom it reaches from it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from regrow.actors.wire import Mode
from regrow.chaos.simulation.dispatcher import DispatcherProcess
from regrow.chaos.simulation.network import Hears, Path
from regrow.chaos.simulation.pace import DRAIN_S
from regrow.chaos.simulation.process import Process
from regrow.chaos.simulation.server import Line
from regrow.chaos.simulation.supervisor import SupervisorProcess
from regrow.runtime.stimuli import Ready


class Owner(Protocol):
    """What a dispatcher's place needs of its tree."""

    def line(self, process: Process) -> Line:
        """A new connection to the store."""
        ...

    def subscribe(self, dispatcher: DispatcherProcess) -> None:
        """To the store's hints."""
        ...

    def monitor(self, ref: int, path: str) -> None:
        """Tell its dispatcher of the end of the actor there."""
        ...

    def demonitor(self, ref: int) -> None:
        """Not any more."""
        ...


@dataclass(slots=True)
class Seat:
    """What a process is told of its place in the tree: ``ready`` and ``beat`` go to its supervisor."""

    supervisor: SupervisorProcess
    child: str
    incarnation: int

    def ready(self) -> None:
        self.supervisor.sign(self.child, self.incarnation, Ready(self.child, self.incarnation))

    def beat(self) -> None:
        self.supervisor.sign(self.child, self.incarnation)


@dataclass(slots=True)
class WorkerPost:
    """A worker's place."""

    place: str
    tree: str
    path: str
    mode: Mode
    slots: int
    network: Path
    door: Callable[[], Hears | None]
    seat: Seat | None = None
    drain_s: float = DRAIN_S

    def ready(self) -> None:
        if self.seat is not None:
            self.seat.ready()

    def beat(self) -> None:
        if self.seat is not None:
            self.seat.beat()


@dataclass(slots=True)
class DispatcherPost:
    """A dispatcher's place."""

    owner: Owner
    name: str
    tree: str
    seat: Seat

    def line(self, process: Process) -> Line:
        return self.owner.line(process)

    def ready(self) -> None:
        self.seat.ready()

    def beat(self) -> None:
        self.seat.beat()

    def subscribe(self, dispatcher: DispatcherProcess) -> None:
        self.owner.subscribe(dispatcher)

    def monitor(self, ref: int, path: str) -> None:
        self.owner.monitor(ref, path)

    def demonitor(self, ref: int) -> None:
        self.owner.demonitor(ref)
