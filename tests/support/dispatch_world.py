"""A store and workers on paper, round a real dispatcher's core: everything that can be lost, late or repeated is."""

from collections import Counter, deque
from dataclasses import dataclass, field

from regrow.actors import stimuli, wire
from regrow.actors.dispatch import Dispatch
from regrow.actors.placement import AHEAD_S
from regrow.actors.reception import Identity
from regrow.actors.records import Held
from regrow.actors.talk import Talk
from regrow.actors.task import (
    MAX_LOST_WORKERS,
    Claimed,
    Digest,
    Failure,
    FailureKind,
    Move,
    Outcome,
    Settlement,
    State,
    TaskId,
    Verdict,
    WorkerId,
)
from regrow.actors.wire import Lease, Mode, TaskToRun

RAN_S = 0.004
SLOTS = 2
Key = tuple[TaskId, int]
US, GHOST = "dispatcher", "ghost"  # dispatchers; the ghost has died
NOBODY = WorkerId("nobody")  # the ghost's worker, which has died with it


class Greet:
    """The first question of a dispatcher to the store: its leases."""


@dataclass
class Record:
    """A task in the store."""

    digest: Digest
    limit: int
    status: State = State.QUEUED
    attempt: int = 0
    worker: WorkerId = WorkerId("")  # noqa: RUF009 (a text)
    deaths: int = 0
    lost: int = 0
    last: Move | None = None
    owner: str = US


@dataclass
class Player:
    """A worker.  ``is_cut``: nothing of what it says arrives for now."""

    worker: WorkerId
    mode: Mode
    is_alive: bool = True
    is_cut: bool = False
    is_welcome: bool = False
    granted: int = -1
    given: list[Lease] = field(default_factory=list)  # to be said once it is welcome
    inbox: deque[wire.ToWorker] = field(default_factory=deque)
    outbox: deque[wire.FromWorker] = field(default_factory=deque)
    waiting: dict[Key, TaskToRun] = field(default_factory=dict)
    running: dict[Key, TaskToRun] = field(default_factory=dict)
    done: dict[Key, Outcome] = field(default_factory=dict)
    talk: Talk = field(default_factory=Talk)

    def say(self, message: wire.FromWorker) -> None:
        self.talk.says(message)
        self.outbox.append(message)

    def hello(self) -> None:
        self.is_welcome = False
        held = [Lease(*key) for key in (*self.waiting, *self.running)]
        done = [Lease(*key) for key in self.done]
        said = self.talk.said + 1
        self.say(
            wire.Hello(
                wire.PROTOCOL, self.worker, self.worker, "h", 1, self.mode, SLOTS, "3.11", "0.4", held, done, said=said
            )
        )

    def grant(self) -> None:
        """Only news."""
        if self.mode is Mode.PULL and self.is_welcome and self.granted != SLOTS:
            self.granted = SLOTS
            self.say(wire.Grant(SLOTS))

    def report(self, outcomes: list[Outcome]) -> None:
        """Say how these ended; before the Welcome nothing is said, and then everything again."""
        if self.is_welcome and outcomes:
            self.say(wire.Done(outcomes))

    def give_back(self, leases: list[Lease]) -> None:
        """Say that these were not started."""
        self.given += leases
        if self.is_welcome and self.given:
            self.say(wire.GaveBack(self.given))
            self.given = []

    def hear(self) -> None:
        """Take one message from the inbox."""
        message = self.inbox.popleft()
        is_lossy = self.talk.hears(message, is_welcome=self.is_welcome)
        self.heed(message)
        if is_lossy:
            self.hello()

    def heed(self, message: wire.ToWorker) -> None:
        match message:
            case wire.Welcome():
                self.is_welcome, self.granted = True, -1
                self.give_back([])
                self.report(list(self.done.values()))
                self.grant()
            case wire.WhoAreYou():
                self.hello()
            case wire.Run(tasks):
                for task in tasks if self.is_welcome else []:
                    key = (task.task_id, task.attempt)
                    if key not in self.running and key not in self.done:
                        self.waiting[key] = task
            case wire.Ack(leases):
                for lease in leases:
                    self.done.pop((lease.task_id, lease.attempt), None)
            case wire.Drop(leases):
                for lease in leases:
                    for place in (self.waiting, self.running, self.done):
                        place.pop((lease.task_id, lease.attempt), None)
            case wire.Recall(count):
                given = list(self.waiting)[-count:]
                for key in given:
                    del self.waiting[key]
                self.give_back([Lease(*key) for key in given])
            case wire.Refused(reason):
                raise AssertionError(reason)


class World:
    """Everything round the core; each method is one thing that happens."""

    def __init__(self) -> None:
        self.now = 0.0
        self.records: dict[TaskId, Record] = {}
        self.queue: list[TaskId] = []
        self.last_claim: tuple[str, list[TaskId]] = ("", [])
        self.players: dict[WorkerId, Player] = {}
        self.starts: Counter[Key] = Counter()
        self.incarnation = 0
        self.requests: deque[object] = deque()
        self.was_cut = False
        self.fuse: int | None = None  # effects until the dispatcher dies
        self.kept: set[Key] = set()  # adopted over the last crash: only their workers may end them
        self.restart(survive=0, applied=0)

    # The dispatcher

    def restart(self, survive: int, *, applied: int) -> None:
        """The dispatcher dies and comes back.

        ``survive``: messages to each worker that have arrived already; ``applied``: requests that the store has carried out.
        """
        for request in list(self.requests)[:applied]:
            self.apply(request)
        self.incarnation += 1
        self.fuse = None
        self.kept.clear()
        self.core = Dispatch(Identity(f"d/{self.incarnation}", "", "3.11"))
        self.requests = deque([Greet()])
        self.was_cut = False
        for player in self.players.values():
            player.inbox = deque(list(player.inbox)[:survive])
            player.outbox.clear()
            player.inbox.append(wire.WhoAreYou())

    def feed(self, *happened: stimuli.Stimulus) -> None:
        pending = list(happened)
        while pending:
            effects = self.core.fold(pending, self.now)
            self.core.leases.check()
            pending = []
            for effect in effects:
                if self.fuse is not None:
                    if self.fuse == 0:
                        self.restart(survive=1000, applied=len(self.requests) // 2)
                        return
                    self.fuse -= 1
                if isinstance(effect, stimuli.Send):
                    pending += self.send(effect)
                elif isinstance(effect, stimuli.Claim | stimuli.Settle | stimuli.FetchCode | stimuli.Inherit):
                    self.requests.append(effect)
        assert sum(isinstance(request, stimuli.Claim) for request in self.requests) <= 1
        assert sum(isinstance(request, stimuli.Settle) for request in self.requests) <= 1

    def recover(self) -> None:
        """After a crash nothing else goes wrong until every worker that can speak has presented what it holds."""
        while self.requests:
            self.answer()
        self.feed(stimuli.Tick())
        for player in [player for player in self.players.values() if player.is_alive and not player.is_cut]:
            while player.inbox or player.outbox:
                while player.inbox:
                    player.hear()
                while player.outbox:
                    self.speak(player)
            current = {(held.task_id, held.attempt) for held in self.leases()}
            self.kept |= current & (player.running.keys() | player.waiting.keys())
            seat = self.core.leases.seats.by_worker[player.worker]
            assert self.kept & player.running.keys() <= {(it.task_id, it.attempt) for it in seat.leases.values()}

    def unkeep(self, player: Player) -> None:
        """What this worker holds may be lost from here on."""
        self.kept -= player.running.keys() | player.waiting.keys() | player.done.keys()

    def send(self, effect: stimuli.Send) -> list[stimuli.Stimulus]:
        player = self.players[effect.worker]
        if player.is_alive:
            player.inbox.append(effect.message)
            return []
        return [stimuli.Undelivered(effect.worker, effect.message)] if isinstance(effect.message, wire.Run) else []

    # The store

    def submit(self, digest: Digest, limit: int) -> None:
        task_id = TaskId(f"t{len(self.records)}")
        self.records[task_id] = Record(digest, limit)
        self.queue.append(task_id)

    def answer(self) -> None:
        """The store answers the oldest request."""
        self.feed(self.apply(self.requests.popleft()))
        if self.was_cut:
            self.was_cut = False
            self.feed(stimuli.StoreBack(self.leases()))

    def cut(self, *, applied: bool) -> None:
        """The store fails at the oldest request, before or after it has done it; it will be asked again."""
        if applied:
            self.apply(self.requests[0])
        if not self.was_cut and not isinstance(self.requests[0], Greet):
            self.was_cut = True
            self.feed(stimuli.StoreLost("cut"))

    def apply(self, request: object) -> stimuli.Stimulus:
        match request:
            case Greet():
                return stimuli.StoreBack(self.leases())
            case stimuli.Claim():
                return self.claim(request)
            case stimuli.Settle(settlements):
                return stimuli.SettleAnswered([self.settle(settlement) for settlement in settlements])
            case stimuli.Inherit(former):
                return stimuli.Inherited(former, self.inherit())
            case stimuli.FetchCode(digests):
                return stimuli.CodeFetched(dict.fromkeys(digests, b"code"))
            case _:
                raise AssertionError(request)

    def haunt(self, count: int) -> None:
        """Another dispatcher claims some tasks, and dies with its worker."""
        for _ in range(min(count, len(self.queue))):
            record = self.records[self.queue.pop(0)]
            record.status, record.worker, record.owner = State.RUNNING, NOBODY, GHOST
            record.attempt += 1

    def silent(self) -> list[str]:
        return [GHOST] if self.leases(GHOST) else []

    def inherit(self) -> list[Held]:
        held = self.leases(GHOST)
        for lease in held:
            self.records[lease.task_id].owner = US
        return held

    def leases(self, owner: str = US) -> list[Held]:
        running = {
            task_id: it for task_id, it in self.records.items() if it.status is State.RUNNING and it.owner == owner
        }
        return [Held(task_id, it.attempt, it.worker, it.digest) for task_id, it in running.items()]

    def claim(self, request: stimuli.Claim) -> stimuli.ClaimAnswered:
        if self.last_claim[0] != request.claim_id:
            taken = []
            places = [share.worker for share in request.shares for _ in range(share.free)]
            ahead = {share.worker: share.ahead_s for share in request.shares}
            while self.queue:
                record = self.records[self.queue[0]]
                cost_s = request.expected_s.get(record.digest)
                fits = [worker for worker, left_s in ahead.items() if cost_s is not None and left_s >= cost_s]
                if not places and not fits:
                    break
                worker = places.pop(0) if places else fits[0]
                if not places and worker in fits and cost_s is not None:
                    ahead[worker] -= cost_s
                record.status, record.worker, record.owner = State.RUNNING, worker, US
                record.attempt += 1
                taken.append(self.queue.pop(0))
            self.last_claim = (request.claim_id, taken)
        mine = [(task_id, self.records[task_id]) for task_id in self.last_claim[1]]
        tasks = [
            Claimed(task_id, it.attempt, it.worker, it.digest, b"p")
            for task_id, it in mine
            if it.status is State.RUNNING
        ]
        return stimuli.ClaimAnswered(tasks, len(self.queue))

    def settle(self, settlement: Settlement) -> Verdict:
        record, move, outcome = self.records[settlement.task_id], settlement.move, settlement.outcome
        if record.attempt != settlement.attempt or record.owner != US:
            return Verdict.STALE
        if record.status is not State.RUNNING:
            if record.last is not move:
                return Verdict.STALE
            return Verdict.REQUEUED if record.status is State.QUEUED else Verdict.STORED
        assert record.worker == settlement.worker
        is_kept = (settlement.task_id, settlement.attempt) in self.kept
        assert not (is_kept and move is Move.LOSE_WORKER), f"{settlement} was adopted, and its worker lives"
        record.last = move
        record.deaths += move is Move.CRASH
        record.lost += move is Move.LOSE_WORKER
        if move is Move.SUCCEED:
            assert outcome is not None
            assert outcome.value == f"{settlement.task_id}/{record.attempt}/{record.worker}".encode()
            record.status = State.COMPLETED
            return Verdict.STORED
        is_over = record.deaths >= record.limit or record.lost >= MAX_LOST_WORKERS
        if move is not Move.GIVE_BACK and (record.limit == 1 or is_over):
            record.status = State.FAILED
            return Verdict.STORED
        record.status = State.QUEUED
        self.queue.insert(0, settlement.task_id)
        return Verdict.REQUEUED

    # The workers

    def join(self, mode: Mode) -> None:
        worker = WorkerId(f"w{len(self.players)}")
        self.players[worker] = Player(worker, mode)
        self.players[worker].hello()

    def speak(self, player: Player) -> None:
        """The next thing that the worker has said arrives."""
        self.feed(stimuli.WorkerSaid(player.worker, player.outbox.popleft()))

    def begin(self, player: Player) -> None:
        """A slot starts the oldest waiting task."""
        key = next(iter(player.waiting))
        player.running[key] = player.waiting.pop(key)
        self.starts[key] += 1
        assert self.starts[key] == 1, f"{key} was started twice"
        if self.records[key[0]].limit == 1:
            assert sum(count for (task_id, _), count in self.starts.items() if task_id == key[0]) == 1, key

    def end(self, player: Player, *, crash: bool) -> None:
        """A running task ends."""
        key = next(iter(player.running))
        del player.running[key]
        failure = Failure(FailureKind.CRASHED, "Signal", "SIGSEGV") if crash else None
        value = None if crash else f"{key[0]}/{key[1]}/{player.worker}".encode()
        player.done[key] = Outcome(*key, value, failure, RAN_S)
        player.report([player.done[key]])
        player.grant()

    def reconnect(self, player: Player, survive: int) -> None:
        """The connection breaks: what was on its way is lost, and the worker introduces itself again."""
        self.unkeep(player)
        player.inbox = deque(list(player.inbox)[:survive])
        player.outbox.clear()
        while player.inbox:
            player.hear()
        player.outbox.clear()
        player.hello()

    def damage(self, messages: "deque[wire.FromWorker] | deque[wire.ToWorker]", at: int) -> None:
        """One message on its way is damaged, so that its reader drops it."""
        if messages:
            del messages[at % len(messages)]

    def leave(self, player: Player) -> None:
        """It is asked to stop, and its deadline comes at once: it gives back, and names what it has begun."""
        given, player.waiting = [Lease(*key) for key in player.waiting], {}
        undone = [Lease(*key) for key in (*player.running, *player.done)]
        player.say(wire.Leaving())
        player.give_back(given)
        player.say(wire.Leaving(is_final=True, undone=undone))
        self.die(player)

    def die(self, player: Player) -> None:
        self.unkeep(player)
        player.is_alive = False
        player.inbox.clear()

    def tell(self, player: Player) -> None:
        """The supervisor of a dead worker says so; what the worker had sent before is heard first."""
        while player.outbox:
            self.speak(player)
        self.feed(stimuli.WorkerDown(player.worker, "signal:SIGKILL"))

    def pass_time(self, seconds: float) -> None:
        """Live workers beat, what they said arrives unless they are cut off, deadlines come."""
        until = self.now + seconds
        while self.now < until:
            deadline = self.core.next_deadline()
            self.now = min(until, self.now + 0.5, max(deadline or until, self.now + 0.001))
            for player in self.players.values():
                if player.is_alive:
                    player.say(wire.Beat(list(range(len(player.running))), player.talk.said))
                while player.outbox and not player.is_cut:
                    self.speak(player)
            self.feed(stimuli.Tick())

    # What must be true

    def check(self) -> None:
        """Between any two things that happen."""
        for seat in self.core.leases.seats:
            most = SLOTS if seat.hello.mode is Mode.PULL else SLOTS + int(AHEAD_S * SLOTS / RAN_S)
            assert len(seat.leases) <= most, f"{seat.hello.worker} was given more than it has room for"
        assert set(self.queue) == {task_id for task_id, it in self.records.items() if it.status is State.QUEUED}
        if not self.requests and not self.was_cut:
            stored = {(lease.task_id, lease.attempt) for lease in self.leases()}
            assert {key for key, _ in self.core.leases.where()} == stored

    def heal(self) -> None:
        """All faults end, and every task must come to its end."""
        self.fuse = None
        for player in self.players.values():
            player.is_cut = False
        self.join(Mode.PUSH)
        for _ in range(60 + 2 * len(self.records)):
            if all(it.status in (State.COMPLETED, State.FAILED) for it in self.records.values()):
                return
            self.feed(stimuli.Pulsed(len(self.queue), self.silent()))
            while self.requests:
                self.answer()
            for player in [player for player in self.players.values() if player.is_alive]:
                while player.inbox:
                    player.hear()
                while player.waiting and len(player.running) < SLOTS:
                    self.begin(player)
                while player.running:
                    self.end(player, crash=False)
            self.pass_time(0.5)
        stuck = {task_id: it for task_id, it in self.records.items() if it.status in (State.QUEUED, State.RUNNING)}
        raise AssertionError(f"{stuck} never ended; the dispatcher has {list(self.core.leases.where())}")
