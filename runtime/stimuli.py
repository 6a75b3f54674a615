"""Values: what a supervision core is told (stimuli), and what it tells its shell to do (effects).

A child is named by its id, a life of it by id and incarnation. Stimuli about a life that is over change nothing.
"""

from enum import StrEnum
from typing import Final

import msgspec

from regrow.runtime.spec import ChildSpec, ChildState, ExitReason, ReasonKind, SupervisorSpec


class Begin(msgspec.Struct, frozen=True):
    """Start the initial children: a list one at a time, a pool all together."""


class Ready(msgspec.Struct, frozen=True):
    """The child acknowledged its init."""

    child: str
    incarnation: int


class Exited(msgspec.Struct, frozen=True):
    """The child's process is gone and reaped. Also the answer to a Spawn that could not be carried out."""

    child: str
    incarnation: int
    reason: ExitReason


class Overdue(msgspec.Struct, frozen=True):
    """The child has been silent for too long."""

    child: str
    incarnation: int


class Respecify(msgspec.Struct, frozen=True):
    """The child wants to be started with these ``arguments`` from its next life on."""

    child: str
    incarnation: int
    arguments: bytes


class Tick(msgspec.Struct, frozen=True):
    """``next_deadline()`` has passed."""


class StopRequested(msgspec.Struct, frozen=True):
    """The parent or the operator wants this supervisor to end, with ``reason``. The first request counts."""

    reason: ExitReason


class StartChild(msgspec.Struct, frozen=True):
    """Add a child and start it; answered when it is ready."""

    ticket: int
    spec: ChildSpec


class TerminateChild(msgspec.Struct, frozen=True):
    """Stop a child and leave it stopped; answered when it is gone. Its spec is kept, unless it is temporary."""

    ticket: int
    child: str


class RestartChild(msgspec.Struct, frozen=True):
    """Start a child that has ended and whose spec was kept; answered when it is ready."""

    ticket: int
    child: str


class DeleteChild(msgspec.Struct, frozen=True):
    """Forget the spec of a child that has ended."""

    ticket: int
    child: str


class Resize(msgspec.Struct, frozen=True):
    """Give a pool another size; answered when those above it are gone. New ones are then being started."""

    ticket: int
    size: int


Operation = StartChild | TerminateChild | RestartChild | DeleteChild | Resize
Stimulus = Begin | Ready | Exited | Overdue | Respecify | Tick | StopRequested | Operation


class Spawn(msgspec.Struct, frozen=True):
    """Start a process. If that is impossible, feed Exited next."""

    child: str
    incarnation: int
    spec: ChildSpec


class AskToStop(msgspec.Struct, frozen=True):
    """Send the stop message, and SIGTERM at the same moment."""

    child: str
    incarnation: int


class Kill(msgspec.Struct, frozen=True):
    """SIGKILL to the child's whole process group."""

    child: str
    incarnation: int


class Started(msgspec.Struct, frozen=True):
    """All initial children have been ready: acknowledge this supervisor's own init."""


class Announce(msgspec.Struct, frozen=True):
    """A child changed its state.

    ``reason`` is set exactly once per incarnation, with EXITED, at its end: that is what monitors wait for.
    """

    child: str
    incarnation: int
    state: ChildState
    reason: ExitReason | None = None


class ReportKind(StrEnum):
    """What a crash report is about."""

    CHILD_ENDED = "child_ended"  # it ended by itself, and was not supposed to
    START_FAILED = "start_failed"  # it ended, or was killed, before it was ready
    STOP_FAILED = "stop_failed"  # it was asked to stop, and crashed over it
    MAX_INTENSITY = "max_intensity"  # its death was one restart too many: this supervisor gives up
    CRASH_LOOP = "crash_loop"  # it never stays up: this supervisor gives up


GAVE_UP: Final = {
    ReportKind.MAX_INTENSITY: "gave up: more restarts than its intensity allows",
    ReportKind.CRASH_LOOP: "gave up: a child never stayed up (crash loop)",
}


def gave_up(reason: ExitReason) -> bool:
    """Whether a supervisor that finished with ``reason`` gave up, rather than being asked to end.

    To its parent that is a normal ``shutdown`` (as in OTP); the root turns it into an exit code other than 0.
    """
    return reason.kind is ReasonKind.SHUTDOWN and reason.detail in GAVE_UP


class Report(msgspec.Struct, frozen=True):
    """Something that a person may want to look at."""

    kind: ReportKind
    child: str
    reason: ExitReason
    detail: str = ""


class Refusal(StrEnum):
    """Why an operation was not carried out."""

    ALREADY_STARTED = "already_started"  # a child of this id is up, or about to be
    ALREADY_PRESENT = "already_present"  # a child of this id has ended, and its spec was kept
    NOT_FOUND = "not_found"
    RUNNING = "running"  # its process is alive
    RESTARTING = "restarting"  # it waits to be started again
    MAX_CHILDREN = "max_children"
    INVALID_SPEC = "invalid_spec"
    START_FAILED = "start_failed"
    IS_A_POOL = "is_a_pool"  # children of a pool are added by resizing it
    NOT_A_POOL = "not_a_pool"
    STOPPING = "stopping"  # the supervisor is ending, or has ended


class Answered(msgspec.Struct, frozen=True):
    """An operation is done (``error`` None) or refused; exactly one for each ticket. ``detail`` is for people."""

    ticket: int
    error: Refusal | None = None
    detail: str = ""


class Respecified(msgspec.Struct, frozen=True):
    """This supervisor's own spec is ``spec`` now: its parent is to start the next life of it with that."""

    spec: SupervisorSpec


class Finished(msgspec.Struct, frozen=True):
    """This supervisor has no living child left and ends, with ``reason``. Nothing but refusals comes after it."""

    reason: ExitReason


Effect = Spawn | AskToStop | Kill | Started | Announce | Report | Answered | Respecified | Finished
