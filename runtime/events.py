"""Shell: the names of the runtime's events, and how they are said."""

from dataclasses import dataclass, field
from enum import StrEnum

from regrow.runtime import logs


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
    ORPHAN_KILLED = "orphan.killed"  # a descendant whose parent had died, and which it had left, is killed (orphan_pid)
    ORPHAN_REAPED = "orphan.reaped"  # a descendant whose parent had died ended (orphan_pid)
    SUPERVISOR_REPORT = "supervisor.report"  # a child failed, or did not start (kind, child, reason, detail, note)
    SUPERVISOR_GAVE_UP = "supervisor.gave_up"  # restarting did not help (kind, child, reason, detail, note)
    TREE_STOPPED = "tree.stopped"  # the root has ended (reason)


def identify(actor: str, incarnation: int, level: str) -> None:
    """Who speaks in this process, from which level on."""
    logs.configure(level, actor=actor, incarnation=incarnation)


def level() -> str:
    """The level set by ``identify``; children inherit it."""
    return logs.level()


def say(severity: str, event: Event, **fields: object) -> None:
    """Log one event; ``severity`` is a level's name. Fields that are empty texts are left out."""
    getattr(logs.log, severity)(event.value, **{name: value for name, value in fields.items() if value != ""})


@dataclass(slots=True)
class Tally:
    """Counts what is dropped, and says it at the 1st, 2nd, 4th, 8th ... time: a flood must not flood the log."""

    totals: dict[Event, int] = field(default_factory=dict)

    def note(self, event: Event, **fields: object) -> None:
        """One more."""
        total = self.totals[event] = self.totals.get(event, 0) + 1
        if total & (total - 1) == 0:
            say("warning", event, total=total, **fields)
