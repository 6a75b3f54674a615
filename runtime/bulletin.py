"""Shell: what a supervisor says of its children: in the log, to its parent, and to those who follow it."""

from collections.abc import Sequence
from typing import Final

import msgspec

from regrow.runtime import events, stimuli
from regrow.runtime.actor import Context
from regrow.runtime.clock import wall
from regrow.runtime.events import Event
from regrow.runtime.news import Newsroom
from regrow.runtime.spec import ExitReason
from regrow.runtime.tree import Follow, Happening

TOLD: Final = frozenset(
    {Event.CHILD_UP, Event.CHILD_DOWN, Event.CHILD_OVERDUE, Event.CHILD_KILLED, Event.SUPERVISOR_GAVE_UP}
)


class Bulletin:
    """The voice of the supervisor whose ``context`` this is."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._newsroom = Newsroom()
        self._lives: dict[str, tuple[int, int | None]] = {}  # child -> incarnation and pid, also after its end
        self._last_report: stimuli.Report | None = None

    def born(self, child: str, incarnation: int, pid: int | None) -> None:
        """A life of this child has begun; without a pid when it could not."""
        self._lives[child] = incarnation, pid

    def say(self, severity: str, event: Event, **fields: object) -> None:
        """Log one event; what others may want to know is told too."""
        events.say(severity, event, **fields)
        if event in TOLD:
            child = str(fields["child"])
            reason = ": ".join(str(fields[name]) for name in ("kind", "reason") if name in fields)
            incarnation, pid = self._lives.get(child, (0, None))
            path = f"{self._context.path}/{child}"
            self.tell([Happening(wall(), event.value, path, incarnation, pid, reason)])

    def report(self, report: stimuli.Report) -> None:
        """The core has something to report of a child, or gives up."""
        self._last_report = report
        gave_up = report.kind in (stimuli.ReportKind.MAX_INTENSITY, stimuli.ReportKind.CRASH_LOOP)
        self.say(
            "error" if gave_up else "warning",
            Event.SUPERVISOR_GAVE_UP if gave_up else Event.SUPERVISOR_REPORT,
            kind=report.kind.value,
            child=report.child,
            reason=str(report.reason),
            detail=report.detail,
            note=report.reason.note,
        )

    def explained(self, reason: ExitReason) -> ExitReason:
        """The reason of our own end, with the story of the child that caused it: so it reaches the root's crash report."""
        if self._last_report is None or not reason.note or not self._last_report.reason.note:
            return reason
        return msgspec.structs.replace(reason, note=f"{reason.note}\n{self._last_report.reason.note}")

    def tell(self, happenings: Sequence[Happening]) -> None:
        """Pass on what has happened below."""
        self._context.tell(happenings)
        for follower, news in self._newsroom.add(happenings):
            self._context.cast(follower, news)

    def follow(self, follower: str, asked: Follow) -> None:
        """Answer, now or later."""
        news = self._newsroom.follow(follower, asked.after)
        if news is not None:
            self._context.cast(follower, news)

    def silence(self, child: str) -> None:
        """Whoever followed from there has ended with it."""
        self._newsroom.forget(f"{self._context.path}/{child}")
