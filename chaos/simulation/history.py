"""Core: what the tasks themselves, the client and the store's moves tell together, held against the invariants as it happens.

The invariants, and the words in which a violation names them:

- ``no_lost``: every acknowledged task ends (asked at the end, see ``audit``)
- ``one_terminal``: a task ends once, and every later reader sees the same
- ``no_overwrite``: what is stored was made by the attempt and worker that had the lease, and ``value_correct``: by this task
- ``bounded_reexec``: an attempt is started at most once; what was given back, never; each loss and crash has a cause that was injected
- ``at_most_once``: a task with a single attempt is started at most once
- ``overlap``: a run goes on beside another one of its task, or after its task's end, only while something is wrong at its place
- ``ack_after_store``: no outcome is acknowledged that the store does not have
- ``legal_transitions``: no other moves (the model's table is the product's)
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from regrow.actors.task import Move, State, WorkerId
from regrow.chaos.simulation.causes import Causes
from regrow.chaos.simulation.clock import Clock
from regrow.chaos.simulation.slot import RETRIES, SlotProcess
from regrow.chaos.simulation.store_record import Record
from regrow.chaos.simulation.task_plan import Kind, Life, Run
from regrow.chaos.simulation.trace import Trace

MEMORY_S: Final = 15.0  # for so long after it a fault is still the cause of what is lost
OVERLAP_S: Final = 4.0  # and what is somebody else's by now may go on for so long
FINAL: Final = {
    Kind.RAISES: ("raised",),
    Kind.POISON: ("quarantined", "crashed"),
    Kind.HANGS: ("timed_out",),
    Kind.EXPIRES: ("expired", "timed_out"),
    Kind.DEADLINE: ("expired", "timed_out"),
}
OFTEN: Final = ("cancelled", "worker_lost")  # may end any task


class Violation(Exception):
    """An invariant does not hold."""

    def __init__(self, invariant: str, detail: str) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant = invariant
        self.detail = detail


class History:
    """Raises Violation in the moment of the contradiction."""

    def __init__(self, clock: Clock, causes: Causes, trace: Trace, saw: Callable[[str], None]) -> None:
        self.lives: dict[int, Life] = {}
        self.places: dict[WorkerId, str] = {}
        self.acknowledged = 0
        self.open = 0  # of these, the tasks that have not ended
        self.runs = 0
        self.ended = 0
        self.is_wild = False  # messages are doubled and overtaken, as TCP does not
        self.on_end: Callable[[Life], None] = lambda life: None  # noqa: ARG005
        self._clock = clock
        self._causes = causes
        self._trace = trace
        self._saw = saw

    def life_of(self, params: bytes) -> Life:
        """The task with these parameters."""
        life = self.lives.get(int(params))
        if life is None:
            raise Violation(
                "no_phantom", f"task {params.decode()} is started, and was never submitted, or ended long ago"
            )
        return life

    # The tasks themselves.

    def started(self, life: Life, attempt: int, slot: SlotProcess) -> Run:
        """A run begins."""
        worker = slot.crew.worker_id
        place = self.places[worker]
        self._trace.note(self._clock.now, f"start {life.number}/{attempt} {worker}")
        self.runs += 1
        count = life.starts[attempt] = life.starts.get(attempt, 0) + 1
        self._check_start(life, attempt, count)
        run = Run(attempt, worker, place, self._clock.now, life.owner)
        for other in life.active:
            self._saw("two runs beside each other")
            self._clock.after(OVERLAP_S, partial(self._check_overlap, life, other, run))
        life.active.append(run)
        return run

    def stopped(self, life: Life, run: Run, *, has_returned: bool) -> None:
        """It is over."""
        run.is_over = True
        life.active.remove(run)
        if has_returned:
            life.values.add(run.attempt)

    def _check_start(self, life: Life, attempt: int, count: int) -> None:
        if life.is_exempt or self.is_wild:
            return
        if count > 1:
            raise Violation("bounded_reexec", f"attempt {attempt} of {story(life)} was started {count} times")
        if attempt in life.given_back:
            raise Violation("bounded_reexec", f"attempt {attempt} of {story(life)} was given back, and is started")
        if life.limit == 1 and sum(life.starts.values()) > 1:
            raise Violation("at_most_once", f"{story(life)} may be started once only")

    def _check_overlap(self, life: Life, older: Run, newer: Run | None) -> None:
        """``newer`` None: the task has ended."""
        if older.is_over or (newer is not None and newer.is_over) or self.is_wild:
            return
        now = self._clock.now
        names = (*self._parts_of(older.place), "store", "inherit")
        if self._causes.any_of(names, now - OVERLAP_S, now):
            self._clock.after(OVERLAP_S, partial(self._check_overlap, life, older, newer))
            return
        beside = "after its end" if newer is None else f"beside attempt {newer.attempt} at {newer.place}"
        text = f"attempt {older.attempt} of {story(life)} has run on at {older.place} for {OVERLAP_S:g} s {beside}"
        raise Violation("overlap", f"{text}, and nothing is wrong there")

    # The store's moves.

    def moved(self, record: Record, move: Move, attempt: int, kind: str = "", value: bytes | None = None) -> None:
        """A task has moved."""
        life = self.lives[int(record.params)]
        self._trace.note(self._clock.now, f"{move} {life.number}/{attempt} {record.worker} {kind}")
        self._saw(f"move {move}")
        if life.end is not None:
            raise Violation("one_terminal", f"{story(life)} has ended, and moves by {move}")
        if move is Move.CLAIM:
            self._claimed(life, record)
            return
        self._check_lease(life, move, attempt)
        if move is Move.GIVE_BACK:
            self._given_back(life, attempt)
        elif move in (Move.LOSE_WORKER, Move.GIVE_UP) and kind == "worker_lost":
            self._check_loss(life)
        elif move in (Move.CRASH, Move.GIVE_UP):
            self._check_crash(life, attempt)
        elif move is Move.SUCCEED:
            self._check_value(life, attempt, value)
        life.requeued += record.status is State.QUEUED and move is not Move.GIVE_BACK
        life.is_leased = False
        if record.status is not State.QUEUED:
            self._end(life, move, kind, value)

    def inherited(self, record: Record, former: str) -> None:
        """Its lease has another owner; this must be for want of a sign of life of the former one."""
        life = self.lives[int(record.params)]
        now = self._clock.now
        self._saw("lease inherited")
        self._causes.note("inherit", now, now + 60.0)
        if not self._causes.any_of((former, f"{former.split('/')[0]}/tree", "store"), now - MEMORY_S, now):
            raise Violation("bounded_reexec", f"the lease of {story(life)} is inherited from {former}, which lives")
        life.owner, life.is_inherited = record.owner, True

    def _claimed(self, life: Life, record: Record) -> None:
        if life.is_leased:
            raise Violation("legal_transitions", f"{story(life)} is claimed beside a lease")
        life.attempt, life.worker, life.owner = record.attempt, record.worker, record.owner
        life.place = self.places[record.worker]
        life.claimed_at, life.is_leased, life.is_inherited = self._clock.now, True, False

    def _check_lease(self, life: Life, move: Move, attempt: int) -> None:
        if life.attempt != attempt:
            raise Violation("no_overwrite", f"{move} by attempt {attempt} of {story(life)}, which has another lease")

    def _given_back(self, life: Life, attempt: int) -> None:
        life.given_back.add(attempt)
        if life.starts.get(attempt) and not self.is_wild:
            raise Violation(
                "bounded_reexec", f"attempt {attempt} of {story(life)} was started, and is given back as new"
            )

    def _check_loss(self, life: Life) -> None:
        """Only a fault at the worker's place, or in the tree above it, loses a worker; of a dispatcher, only what was on its way."""
        now, claimed = self._clock.now, life.claimed_at
        if life.is_inherited or self.is_wild or life.is_exempt:
            return
        if self._causes.any_of(self._parts_of(life.place), claimed - MEMORY_S, now):
            return
        if self._causes.any_of(("store", life.owner), claimed - MEMORY_S, claimed + MEMORY_S):
            return
        raise Violation("bounded_reexec", f"{story(life)} was lost with {life.place}, to which nothing was done")

    def _check_crash(self, life: Life, attempt: int) -> None:
        if not life.starts.get(attempt):
            raise Violation("bounded_reexec", f"attempt {attempt} of {story(life)} crashed, and was never started")
        is_its_own = life.kind is Kind.POISON or (life.kind is Kind.FLAKY and life.tries <= 1)
        if not is_its_own and not self._causes.between(life.place, life.claimed_at, self._clock.now):
            raise Violation("bounded_reexec", f"{story(life)} crashed at {life.place}, to which nothing was done")

    def _check_value(self, life: Life, attempt: int, value: bytes | None) -> None:
        number, made_by, worker = (value or b"//").decode().split("/", 2)
        if number != str(life.number):
            raise Violation("value_correct", f"{story(life)} is stored with the value of task {number}")
        if (made_by, worker) != (str(attempt), life.worker) or attempt not in life.values:
            text = f"{story(life)} is stored with the value of attempt {made_by} by {worker}"
            raise Violation("no_overwrite", f"{text}; the lease is that of attempt {attempt} by {life.worker}")

    def _end(self, life: Life, move: Move, kind: str, value: bytes | None) -> None:
        life.end, life.kind_of_end, life.value = move, kind, value
        self.ended += 1
        self.open -= life.is_acknowledged
        self._saw(f"end {kind}")
        expected = FINAL.get(life.kind, ()) + OFTEN
        if move is not Move.SUCCEED and kind not in expected and not self._may_end(life, kind):
            raise Violation("terminal_is_true", f"{story(life)} ended as {kind}")
        if move is Move.SUCCEED and life.kind in (Kind.RAISES, Kind.POISON, Kind.HANGS):
            raise Violation("terminal_is_true", f"{story(life)} returned")
        for run in life.active:
            self._saw("runs on after its end")
            self._clock.after(OVERLAP_S, partial(self._check_overlap, life, run, None))
        self.on_end(life)

    def _may_end(self, life: Life, kind: str) -> bool:
        """Faults may kill a slot more often than its task may die, or use up its tries."""
        if kind in ("crashed", "quarantined"):
            return self._causes.between(life.place, life.claimed_at, self._clock.now)
        return kind == "raised" and life.kind is Kind.RETRIED and life.tries <= RETRIES

    def _parts_of(self, place: str) -> tuple[str, ...]:
        tree = place.split("/")[0]
        return place, f"{tree}/tree"


def story(life: Life) -> str:
    """A task in a line."""
    lease = f"leased to {life.worker} by {life.owner}" if life.is_leased else "not leased"
    starts = ", ".join(f"{attempt}: {count}" for attempt, count in life.starts.items())
    end = f", ended by {life.end} as {life.kind_of_end}" if life.end else ""
    return f"task {life.number} ({life.kind}, attempt {life.attempt}, {lease}, starts {{{starts}}}{end})"
