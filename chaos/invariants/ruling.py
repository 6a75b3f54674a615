"""Values: what an invariant is given, and what it says.

A function that judges names everything that contradicts its promise, how much there was to look at, and what it lacked: it never says
"valid" itself.  No violation, but nothing looked at or a source missing: that is unknown, and no pass.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from regrow.chaos.docket import Case, Docket
from regrow.chaos.evidence import Evidence, Recovery
from regrow.chaos.impact import Impact


@dataclass(frozen=True, slots=True)
class Facts:
    """The evidence, sorted; faults against tasks; the course of each recovery."""

    docket: Docket
    impact: Impact
    recoveries: tuple[Recovery, ...]

    @property
    def evidence(self) -> Evidence:
        """As it was taken."""
        return self.docket.evidence


class Violation(NamedTuple):
    """One contradiction.  About a task (``case``), an id that nobody submitted (``stranger``), or an actor (``path``)."""

    why: str
    case: Case | None = None
    stranger: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Ruling:
    """``checked``: of how many tasks or actors.  ``lacks``: the source without which nothing can be promised."""

    checked: int
    violations: list[Violation]
    detail: str = ""
    lacks: str = ""


Judge = Callable[[Facts, float | None], Ruling]

NO_MARKS = "the tasks' own witness files"
NO_RECORD = "a whole record of events (there is none, or it has gaps)"
NO_CENSUS = "a census of the tree before and after, settled"
