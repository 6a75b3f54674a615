"""Shell: the names of the runtime's events, and how they are said.

The logging library is imported with the first event that is said, not before: a process that has nothing to tell
starts without it.
"""

import sys
from dataclasses import dataclass, field
from enum import StrEnum


class Event(StrEnum):
    """Every event that the runtime logs."""

    ACTOR_FAILED = "actor.failed"  # an actor without a supervisor ends abnormally (reason, note)
    CHILD_UP = "child.up"  # its init is done (child, incarnation, child_pid)
    CHILD_DOWN = "child.down"  # it ended (child, incarnation, reason)
    CHILD_STATE = "child.state"  # it is starting, stopping, in backoff ... (child, incarnation, state)
    CHILD_KILLED = "child.killed"  # SIGKILL to its process group (child, incarnation)
    CHILD_OVERDUE = "child.overdue"  # no beat for its whole window (child, incarnation)
    FRAME_DROPPED = "frame.dropped"  # a damaged, unknown or stale frame (problem, peer, total)
    LETTER_DROPPED = "letter.dropped"  # nobody lives there, or its queue is full (to, total)
    LOOP_GAP = "loop.gap"  # this process itself was suspended (gap_s)
    MAILBOX_FULL = "mailbox.full"  # a user message was refused (sender, total)
    ORPHAN_REAPED = "orphan.reaped"  # a descendant whose parent had died ended (orphan_pid)
    SUPERVISOR_REPORT = "supervisor.report"  # a child failed, or did not start (kind, child, reason, detail, note)
    SUPERVISOR_GAVE_UP = "supervisor.gave_up"  # restarting did not help (kind, child, reason, detail, note)
    TREE_STOPPED = "tree.stopped"  # the root has ended (reason)


@dataclass(slots=True)
class _Identity:
    """Who speaks, known before the logging library is there."""

    level: str = "info"
    actor: str = ""
    incarnation: int = 0
    is_configured: bool = False


_identity = _Identity()


def identify(actor: str, incarnation: int, level: str) -> None:
    """Who speaks in this process, from which level on."""
    _identity.actor, _identity.incarnation, _identity.level = actor, incarnation, level
    _identity.is_configured = False
    if "regrow.runtime.logs" in sys.modules:
        _configure()


def level() -> str:
    """The level set by ``identify``; children inherit it."""
    return _identity.level


def _configure() -> None:
    from regrow.runtime import logs

    logs.configure(_identity.level, actor=_identity.actor, incarnation=_identity.incarnation)
    _identity.is_configured = True


def say(severity: str, event: Event, **fields: object) -> None:
    """Log one event; ``severity`` is a level's name."""
    from regrow.runtime import logs

    if logs.LEVELS[severity] < logs.LEVELS[_identity.level]:
        return
    if not _identity.is_configured:
        _configure()
    getattr(logs.log, severity)(event.value, **fields)


@dataclass(slots=True)
class Tally:
    """Counts what is dropped, and says it at the 1st, 2nd, 4th, 8th ... time: a flood must not flood the log."""

    totals: dict[Event, int] = field(default_factory=dict)

    def note(self, event: Event, **fields: object) -> None:
        """One more."""
        total = self.totals[event] = self.totals.get(event, 0) + 1
        if total & (total - 1) == 0:
            say("warning", event, total=total, **fields)
