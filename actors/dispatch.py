"""Core: what a dispatcher does about what it hears from workers, store and clock.

Theory of operation. ``fold`` takes stimuli in, plans once for all of them, and returns effects in order. Who holds
what is in ``leases``, where a task may go in ``placement`` and ``seats``, what the store is owed in ``ledger``, the talk with
workers in ``reception``. What is decided here:

- One claim is in flight at most.  It is asked for when there is room, the store is not owed too much (``ledger``), and the
  queue may hold something (``_is_hungry``):
  after a wake, after a claim that left tasks behind, after a requeue.  When the head of the queue did not fit
  (``_is_stuck``), not before a worker has spoken again.  What one says while the claim is in flight counts as well: it
  may be the last word for long.
- No step depends on a reply.  A store call that was cut is repeated as it was; afterwards the lease table is brought in
  step with the store's.  So it is after we were suspended, since somebody may have inherited from us, and when the store has
  counted other leases than we have for ODD_PULSES in a row: a call of our former incarnation can come late, and take tasks.
- While the queue is empty, tasks that have waited too long for a slot are called back from their worker (``recalls``).
- What waits for its time (a delay, a retry, a deadline) waits in the store (``promotion``).
- Where memory is short, nothing is handed out, and tasks are killed one by one until it is not (``pressure``).
- What was cancelled has ended in the store already; its worker is told to drop it.
- Where the store has signs that tasks are where nobody looks, they are searched for (``search``).
- Draining: nothing is claimed or handed out, unstarted tasks are called back, and running ones are waited for. What
  still runs at the deadline stays leased: it may have been started, so only a later incarnation or an heir may judge
  it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, assert_never

from regrow.actors import stimuli, wire
from regrow.actors.events import Event
from regrow.actors.leases import Leases
from regrow.actors.placement import batches
from regrow.actors.promotion import Promotion
from regrow.actors.recalls import Recalls
from regrow.actors.reception import Identity, Reception
from regrow.actors.records import Held
from regrow.actors.search import Search
from regrow.actors.stimuli import Effect, Fields, Report, Stimulus
from regrow.actors.task import Verdict, WorkerId

__all__ = ["Dispatch", "Identity"]
ODD_PULSES: Final = 3  # what is cancelled just then makes one odd for a moment


@dataclass(slots=True)
class Dispatch:
    """The dispatcher's decisions.  Times are monotonic seconds."""

    identity: Identity
    leases: Leases = field(default_factory=Leases)
    reception: Reception = field(init=False)
    recalls: Recalls = field(init=False)
    promotion: Promotion = field(init=False)
    search: Search = field(init=False)
    _effects: list[Effect] = field(default_factory=list)
    _is_hungry: bool = True  # the queue may hold something
    _is_claiming: bool = False
    _is_stuck: bool = False  # the queue's head did not fit last time
    _is_news: bool = False  # a worker has spoken since the last claim was asked for
    _claims: int = 0
    _inheriting: set[str] = field(default_factory=set)
    _is_fetching_drops: bool = False
    _are_drops_due: bool = False  # asked for while one was under way, which may not have seen what is new
    _orphans_until: float | None = None
    _odd_pulses: int = 0  # in a row, in which the store has counted other leases than we have
    _stop_at: float | None = None
    _is_finished: bool = False

    def __post_init__(self) -> None:
        self.reception = Reception(self.identity, self.leases, self._effects)
        self.recalls = Recalls(self.leases.seats, self.reception.send)
        self.promotion = Promotion(self._effects)
        self.search = Search(self._effects, self.identity.heartbeat.window_s)

    def fold(self, happened: Iterable[Stimulus], now: float) -> list[Effect]:
        """Take in what happened, in order; decide what to do.

        Before a Tick, everything that has arrived must be folded.
        """
        for stimulus in happened:
            self._take_in(stimulus, now)
        self._plan(now)
        effects = self._effects.copy()
        self._effects.clear()
        return effects

    def next_deadline(self) -> float | None:
        """When to fold a Tick, if nothing happens before."""
        deadlines = [
            self.reception.next_deadline(),
            self._orphans_until,
            None if self._is_finished else self._stop_at,
            self.promotion.due_at,
            self.search.next_deadline(),
            None if self._is_queue_filling() else self.recalls.next_deadline(),
        ]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def _take_in(self, stimulus: Stimulus, now: float) -> None:
        match stimulus:
            case stimuli.WorkerSaid():
                self._is_news = self._is_news or not isinstance(stimulus.message, wire.Beat)
                self._is_stuck = self._is_stuck and not self._is_news
                self.reception.hear(stimulus, now)
            case stimuli.WorkerDown(worker, reason):
                self.reception.lose(worker, reason, is_watched=False)
            case stimuli.Undelivered(worker, run):
                self.reception.undelivered(worker, run)
            case stimuli.Tick():
                self.reception.judge(now)
                self._judge_orphans(now)
                self.search.tick(now)
                self.promotion.tick(now)
            case stimuli.Suspended():
                self.reception.excuse(now)
                self._read_leases()
            case stimuli.Stop(grace_s):
                self._stop(now + grace_s)
            case stimuli.Woken():
                self._is_hungry = True
            case stimuli.TimersChanged():
                self.promotion.ask()
            case stimuli.DropsWaiting():
                self._fetch_drops()
            case stimuli.StoreLost(problem):
                self._effects.append(Report(Event.STORE_LOST, {"problem": problem}, is_warning=True))
            case _:
                self._take_answer(stimulus, now)

    def _take_answer(self, answer: stimuli.Answer, now: float) -> None:
        match answer:
            case stimuli.ClaimAnswered():
                self._claimed(answer, now)
            case stimuli.SettleAnswered(verdicts):
                self._settled(verdicts)
            case stimuli.CodeFetched(functions):
                self.reception.code_arrived(functions)
            case stimuli.Pulsed():
                self._pulsed(answer, now)
            case stimuli.Inherited(former, held):
                self._inheriting.discard(former)
                self.leases.inherit(held)
                fields: Fields = {"former": former, "leases": len(held)}
                self._effects.append(Report(Event.LEASES_INHERITED, fields, is_warning=True))
            case stimuli.Promoted(_, next_s):
                self.promotion.answered(None if next_s is None else now + next_s)
            case stimuli.Dropped(drops):
                self._dropped_fetched()
                for worker, names in self.leases.drop(drops).items():
                    self._send(worker, wire.Drop(names))
            case stimuli.StoreBack(held, durability, is_durable):
                promise: Fields = {"leases": len(held), "durability": durability}
                self._effects.append(Report(Event.STORE_READY, promise, is_warning=not is_durable))
                self._store_back(held, now)
            case stimuli.LeasesRead(held):
                self._reconcile(held)
            case stimuli.Scanned() | stimuli.Walked() | stimuli.PutBack():
                self.search.answered(answer, now)
            case _:
                assert_never(answer)

    def _claimed(self, answer: stimuli.ClaimAnswered, now: float) -> None:
        self._is_claiming = False
        self._is_hungry = self._is_hungry or answer.left > 0
        self._is_stuck = answer.left > 0 and not answer.tasks and not self._is_news
        if self._stop_at is None:
            self.leases.place(answer.tasks, now)
        else:
            self.leases.reject(answer.tasks)

    def _settled(self, verdicts: list[Verdict]) -> None:
        acks: dict[WorkerId, list[wire.Lease]] = {}
        for settlement, verdict in self.leases.ledger.answered(verdicts):
            if settlement.outcome is not None:
                acks.setdefault(settlement.worker, []).append(wire.Lease(settlement.task_id, settlement.attempt))
            if verdict is Verdict.REQUEUED:
                self._is_hungry, self._is_stuck = True, False
        for worker, names in acks.items():
            self._send(worker, wire.Ack(names))

    def _pulsed(self, pulse: stimuli.Pulsed, now: float) -> None:
        """The pulse also covers a wake that was lost on its way."""
        if pulse.queued:
            self._is_hungry, self._is_stuck = True, False
        for former in pulse.silent:
            if former not in self._inheriting:
                self._inheriting.add(former)
                self._effects.append(stimuli.Inherit(former))
        if pulse.signs is not None:
            self.search.begin(pulse.signs, now)
        if pulse.has_leases_back:
            self._effects.append(stimuli.ReadLeases())
        is_odd = pulse.leases is not None and pulse.leases != sum(1 for _ in self.leases.where())
        self._odd_pulses = self._odd_pulses + 1 if is_odd else 0
        if self._odd_pulses >= ODD_PULSES:
            self._read_leases()

    def _fetch_drops(self) -> None:
        """One call at a time: what is cancelled while it is under way may be missing from its answer."""
        self._are_drops_due = self._is_fetching_drops
        if not self._is_fetching_drops:
            self._is_fetching_drops = True
            self._effects.append(stimuli.FetchDrops())

    def _dropped_fetched(self) -> None:
        self._is_fetching_drops = False
        if self._are_drops_due:
            self._fetch_drops()

    def _store_back(self, held: list[Held], now: float) -> None:
        self._is_hungry = True
        self.promotion.ask()
        self.search.store_back(now)
        if not self.reception.is_open:
            self.leases.orphans = {lease.task_id: lease for lease in held}
            self._orphans_until = now + self.identity.heartbeat.window_s if held else None
            self.reception.open(now)
        else:
            self._reconcile(held)

    def _reconcile(self, held: list[Held]) -> None:
        for worker, names in self.leases.reconcile(held).items():
            self._send(worker, wire.Drop(names))

    def _read_leases(self) -> None:
        """Before the store has answered for the first time they are on their way anyway."""
        self._odd_pulses = 0
        if self.reception.is_open:
            self._effects.append(stimuli.ReadLeases())

    def _judge_orphans(self, now: float) -> None:
        if self._orphans_until is not None and now >= self._orphans_until:
            self._orphans_until = None
            expired = self.leases.expire_orphans()
            if expired:
                self._effects.append(Report(Event.LEASES_EXPIRED, {"leases": expired}, is_warning=True))

    def _stop(self, deadline: float) -> None:
        self._stop_at = deadline
        self.search.cease()
        self.recalls.ask_all()

    def _plan(self, now: float) -> None:
        """What follows from the state, whatever has led to it."""
        for worker, tasks in self.leases.outbox():
            for batch in batches(tasks):
                self._send(worker, wire.Run(batch))
        if self.reception.is_open:
            self._ask_store()
            if not self._is_queue_filling():
                self.recalls.ask(now)
        self._finish(now)

    def _ask_store(self) -> None:
        settlements = self.leases.ledger.next_batch()
        if settlements:
            self._effects.append(stimuli.Settle(settlements))
        if self.reception.wanted:
            self._effects.append(stimuli.FetchCode(self.reception.wanted.copy()))
            self.reception.wanted.clear()
        self.reception.pressures.ration()
        may_claim = not (self._is_claiming or self._is_stuck or self.leases.ledger.is_full)
        if self._is_hungry and may_claim and self._stop_at is None:
            self._claim()

    def _claim(self) -> None:
        short_s = self.leases.durations.short()
        shares = self.leases.seats.shares(short_s)
        if not shares:
            return
        self._claims += 1
        self._is_hungry, self._is_claiming, self._is_news = False, True, False
        self._effects.append(stimuli.Claim(f"{self.identity.token}-{self._claims}", shares, short_s))

    def _is_queue_filling(self) -> bool:
        """Whether free slots may get tasks from the queue, or shall get none."""
        return self._is_hungry or self._is_claiming or self._stop_at is not None

    def _finish(self, now: float) -> None:
        if self._stop_at is None or self._is_finished:
            return
        is_clean = self.leases.is_empty() and not self._is_claiming and self.reception.is_open
        if is_clean or now >= self._stop_at:
            self._is_finished = True
            self._effects.append(stimuli.Finished(is_clean))

    def _send(self, worker: WorkerId, message: wire.ToWorker) -> None:
        self.reception.send(worker, message)
