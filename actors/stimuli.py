"""Values: what happens to a dispatcher's core (stimuli), and what it wants done (effects): two closed unions.

::

    workers ──WorkerSaid, WorkerDown, Undelivered──▶ ┌──────────┐ ──Send, Monitor, Demonitor──▶ workers
                                                     │ Dispatch │
    store ───Woken, Pulsed, StoreBack, answers─────▶ └──────────┘ ──Claim, Settle, FetchCode, Inherit─▶ store

Each store effect is answered by exactly one stimulus, sooner or later: the store's thread repeats a call until it is
answered.
"""

import msgspec

from regrow.actors.claims import Share
from regrow.actors.events import Event
from regrow.actors.records import Held
from regrow.actors.suspects import Close, Mended, Page, Signs, Suspects
from regrow.actors.task import Claimed, Digest, Drop, Settlement, TaskId, Verdict, WorkerId
from regrow.actors.wire import FromWorker, Run, ToWorker

Fields = dict[str, str | int | float]


class WorkerSaid(msgspec.Struct, frozen=True):
    """A message came in."""

    worker: WorkerId
    message: FromWorker


class WorkerDown(msgspec.Struct, frozen=True):
    """The supervisor of this worker saw it end."""

    worker: WorkerId
    reason: str


class Undelivered(msgspec.Struct, frozen=True):
    """These tasks could not be handed to the connection: the worker has not seen them and never will."""

    worker: WorkerId
    run: Run


class Woken(msgspec.Struct, frozen=True):
    """The store's queue may have tasks."""


class TimersChanged(msgspec.Struct, frozen=True):
    """The store may have tasks whose time comes sooner than what we know of."""


class DropsWaiting(msgspec.Struct, frozen=True):
    """Tasks that we have may have been cancelled."""


class ClaimAnswered(msgspec.Struct, frozen=True):
    """Answer to Claim.  ``left`` tasks are still queued."""

    tasks: list[Claimed]
    left: int


class SettleAnswered(msgspec.Struct, frozen=True):
    """Answer to Settle, in its order."""

    verdicts: list[Verdict]


class CodeFetched(msgspec.Struct, frozen=True):
    """Answer to FetchCode; ``None`` for a function that the store no longer has."""

    functions: dict[Digest, bytes | None]


class Pulsed(msgspec.Struct, frozen=True):
    """Answer to the beat: how many tasks are queued, which dispatchers are silent but own leases, whether a search is due, and
    whether leases were put back among ours."""

    queued: int
    silent: list[str]
    signs: Signs | None = None
    has_leases_back: bool = False
    leases: int | None = None  # how many of them are ours; None: not told


class Inherited(msgspec.Struct, frozen=True):
    """Answer to Inherit: these leases were another dispatcher's and are ours now."""

    former: str
    held: list[Held]


class Promoted(msgspec.Struct, frozen=True):
    """Answer to Promote.  ``next_s``: seconds until something else is due, None if nothing waits."""

    moved: int
    next_s: float | None


class Dropped(msgspec.Struct, frozen=True):
    """Answer to FetchDrops: these were cancelled."""

    drops: list[Drop]


class StoreLost(msgspec.Struct, frozen=True):
    """The store does not answer; the call in hand is being repeated."""

    problem: str


class StoreBack(msgspec.Struct, frozen=True):
    """The store answers (for the first time, or again) and has these leases for us. ``durability`` is its promise, as
    text; ``is_durable``: it has one.

    Read after the interrupted call was answered and before the next one was made, so it is in step with what was
    folded.
    """

    held: list[Held]
    durability: str = ""
    is_durable: bool = True


class LeasesRead(msgspec.Struct, frozen=True):
    """Answer to ReadLeases: what the store has for us, in step with what was folded."""

    held: list[Held]


class Scanned(msgspec.Struct, frozen=True):
    """Answer to Scan."""

    page: Page


class Walked(msgspec.Struct, frozen=True):
    """Answer to Walk: these are in the queue; fewer than were asked for: its front is among them."""

    task_ids: list[TaskId]


class PutBack(msgspec.Struct, frozen=True):
    """Answer to Mend."""

    mended: Mended


class Tick(msgspec.Struct, frozen=True):
    """A deadline has come."""


class Suspended(msgspec.Struct, frozen=True):
    """This process itself did not run for a while: nobody else's silence before now means anything."""


class Stop(msgspec.Struct, frozen=True):
    """Drain: take nothing new, and be done within ``grace_s`` seconds."""

    grace_s: float


Found = Scanned | Walked | PutBack
Answer = (
    ClaimAnswered
    | SettleAnswered
    | CodeFetched
    | Pulsed
    | Inherited
    | Promoted
    | Dropped
    | StoreBack
    | LeasesRead
    | Found
)
Hint = Woken | TimersChanged | DropsWaiting
Stimulus = WorkerSaid | WorkerDown | Undelivered | Hint | StoreLost | Tick | Suspended | Stop | Answer


class Claim(msgspec.Struct, frozen=True):
    """Take queued tasks for these workers.  ``expected_s``: run times of short functions, the only ones to go ahead."""

    claim_id: str
    shares: list[Share]
    expected_s: dict[Digest, float]


class Settle(msgspec.Struct, frozen=True):
    """Write these endings."""

    settlements: list[Settlement]


class FetchCode(msgspec.Struct, frozen=True):
    """Read functions."""

    digests: list[Digest]


class Inherit(msgspec.Struct, frozen=True):
    """Take over the leases of a silent dispatcher."""

    former: str


class Promote(msgspec.Struct, frozen=True):
    """Queue what has waited for its time, end what is overdue."""


class FetchDrops(msgspec.Struct, frozen=True):
    """Read which of our tasks were cancelled."""


class ReadLeases(msgspec.Struct, frozen=True):
    """Read what we have under lease."""


class Scan(msgspec.Struct, frozen=True):
    """Look through some tasks for suspects."""

    cursor: str


class Walk(msgspec.Struct, frozen=True):
    """Read a piece of the queue, towards its front; ``position``: so many ids from its end were read before."""

    position: int


class Mend(msgspec.Struct, frozen=True):
    """Put these back where somebody looks, if they have not moved.  ``close``: that was the search."""

    suspects: Suspects
    close: Close | None


class Send(msgspec.Struct, frozen=True):
    """Say this to a worker."""

    worker: WorkerId
    message: ToWorker


class Monitor(msgspec.Struct, frozen=True):
    """Watch this worker's place in our own supervision tree."""

    worker: WorkerId
    path: str


class Demonitor(msgspec.Struct, frozen=True):
    """Watch it no longer."""

    worker: WorkerId


class Report(msgspec.Struct, frozen=True):
    """Log an event.  ``is_warning``: something was recovered from."""

    event: Event
    fields: Fields
    is_warning: bool = False


class Finished(msgspec.Struct, frozen=True):
    """The drain is over.  ``is_clean``: no lease is left, so the dispatcher can take its leave of the store."""

    is_clean: bool


StoreEffect = Claim | Settle | FetchCode | Inherit | Promote | FetchDrops | ReadLeases | Scan | Walk | Mend
Effect = StoreEffect | Send | Monitor | Demonitor | Report | Finished
