"""Evidence of runs that never were: a small service on paper, with seeded faults, that keeps every promise.

Not the product's cores: an independent and simpler telling of what may happen, so that the checker meets histories whose truth is
known.  Queue, workers with slots, leases with attempts; kills of workers, slots, dispatcher and gateway, stops short and long, cuts of a
link, a paused store; retries, cancels, poison, refused and unanswered submits.
"""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from regrow.chaos.evidence import Census, Evidence, Strike
from regrow.chaos.experiment import Configuration, Experiment, Plan, Step, Target
from regrow.chaos.fault import Role, Victim
from regrow.chaos.history import ChildMove, Mark, Move, Op, TaskMove
from regrow.chaos.kinds import value_of
from regrow.runtime.spec import ChildState
from regrow.runtime.tree import TreeNode

BEGAN = 100.0
WALL = 1_700_000_000.0  # what the machine's clock says at 0
LASTS_S = {
    "noop": 0.002,
    "cpu20ms": 0.02,
    "sleep100ms": 0.1,
    "sleep1s": 1.0,
    "sleep3s": 3.0,
    "large": 0.01,
    "once": 0.1,
    "raise": 0.002,
    "persistent": 0.002,
    "poison": 0.003,
    "twice": 0.002,
    "cancel": 3.0,
}
MIX = {
    "noop": 6,
    "cpu20ms": 3,
    "sleep100ms": 4,
    "sleep1s": 4,
    "raise": 2,
    "persistent": 1,
    "poison": 1,
    "once": 2,
    "large": 1,
    "sleep3s": 1,
    "twice": 1,
    "cancel": 1,
}
RAISE = ("raise", "persistent")  # the second, which is not of our table, may be tried again
ENDS = ("succeed", "fail", "give_up", "cancel")
FAULTS = ("kill worker", "kill slot", "stop", "net.cut", "kill dispatcher", "kill gateway", "store.pause", "store.kill")


@dataclass
class Task:
    number: int
    kind: str
    task_id: str
    is_acknowledged: bool = True
    status: str = "QUEUED"
    error_kind: str = ""
    attempt: int = 0
    deaths: int = 0
    retries: int = 0
    digest: str = ""
    run: str = ""
    value: str = ""
    lease: "Execution | None" = None


@dataclass
class Slot:
    pid: int
    job: "Execution | None" = None
    is_up: bool = True


@dataclass
class Worker:
    name: str
    slots: list[Slot]
    pid: int
    incarnation: int = 1
    is_up: bool = True
    is_deaf: bool = False  # stopped, or cut off: nothing comes from it, and nothing reaches it
    outbox: list["Execution"] = field(default_factory=list)
    generation: int = 0  # of its troubles

    @property
    def path(self) -> str:
        return f"root/workers/{self.name}"

    @property
    def id(self) -> str:
        return f"{self.name}@host/{self.incarnation:08x}"


@dataclass
class Execution:
    task: Task
    attempt: int
    run: str
    worker: Worker
    slot: Slot
    worker_id: str
    lives: bool = True


class Paper:
    """One run.  ``faults``: which kinds, drawn from with ``strikes`` draws."""

    def __init__(
        self,
        seed: int,
        tasks: int = 80,
        strikes: int = 6,
        faults: tuple[str, ...] = FAULTS,
        mix: dict[str, int] | None = None,
        workers: int = 3,
        durability: Any = "always",
        rate: float = 12.0,
    ) -> None:
        self.chance = Random(seed)
        self.now = BEGAN
        self.ops: list[Op] = []
        self.marks: list[Mark] = []
        self.moves: list[Move] = []
        self.strikes: list[Strike] = []
        self.steps: list[Step] = []
        self.queue: deque[Task] = deque()
        self.tasks: list[Task] = []
        self.lost: list[Task] = []  # acknowledged, and forgotten in a crash of the store
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0
        self._pids = 1000
        self._store_away = self._dispatcher_away = self._gateway_away = 0.0
        self._mix = mix or MIX
        self.workers = [
            Worker(f"worker-{n}", [Slot(self._pid()) for _ in range(2)], self._pid()) for n in range(workers)
        ]
        self.before = self._census(0.0)
        self._durability = durability
        self._length_s = tasks / rate
        for number, at in enumerate(sorted(self.chance.uniform(0, self._length_s) for _ in range(tasks))):
            self._at(BEGAN + at, lambda number=number: self._submit(number))
        times = sorted(self.chance.uniform(0.3, max(0.4, self._length_s)) for _ in range(strikes))
        for step, at in enumerate(times, start=1):
            fault = self.chance.choice(faults)
            self._at(BEGAN + at, lambda step=step, fault=fault: self._strike(step, fault))

    def evidence(self) -> Evidence:
        """Play it to its end."""
        while self._heap:
            self.now, _, happens = heapq.heappop(self._heap)
            happens()
        ended = max([BEGAN + self._length_s, *(it.undone_at or it.applied_at or 0.0 for it in self.strikes)])
        settled = max(ended, self.now) + 0.1
        self.now = settled
        for task in self.tasks:
            if task.is_acknowledged:
                self._read(task, "final", settled)
        for task in self.lost:
            self._op("fail", "final", task, -task.number - 1, settled, problem="unknown_task")
        configuration = Configuration(workers=len(self.workers), durability=self._durability)
        experiment = Experiment("on paper", configuration=configuration, settle_s=300.0)
        return Evidence(
            experiment,
            Plan("on paper", 0, tuple(self.steps)),
            BEGAN,
            ended,
            settled,
            settled + 1,
            tuple(sorted(self.ops, key=lambda op: op.at)),
            tuple(self.marks),
            tuple(sorted(self.moves, key=lambda move: move.at)),
            tuple(self.strikes),
            before=self.before,
            after=self._census(settled),
            others=(),
        )

    # time and small things

    def _at(self, at: float, happens: Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (at, self._serial, happens))

    def _in(self, delay_s: float, happens: Callable[[], None]) -> None:
        self._at(self.now + delay_s, happens)

    def _pid(self) -> int:
        self._pids += 1
        return self._pids

    def _hex(self) -> str:
        return f"{self.chance.getrandbits(64):016x}"

    def _note(self, task: Task, move: str, worker: str = "", why: str = "") -> None:
        self.moves.append(TaskMove(self.now, self.now + WALL, task.task_id, move, task.attempt, worker, why))

    def _child(self, event: str, path: str, incarnation: int, pid: int, reason: str = "") -> None:
        self.moves.append(ChildMove(self.now, self.now + WALL, event, path, incarnation, pid, reason))

    def _mark(self, word: Any, job: Execution) -> None:
        self.marks.append(Mark(word, job.task.number, job.run, job.slot.pid, self.now))

    # the client

    def _op(self, word: Any, action: Any, task: Task, call: int, at: float, **more: Any) -> None:
        self.ops.append(Op(word, at, call, action, task.number, task.kind, **more))

    def _submit(self, number: int) -> None:
        kind = self.chance.choices(list(self._mix), list(self._mix.values()))[0]
        task = Task(number, kind, f"00000000-0000-4000-8000-{number:012d}")
        self._serial += 1
        call, dice = self._serial, self.chance.random()
        self._op("invoke", "submit", task, call, self.now, due=self.now)
        answer_at = self.now + 0.004
        is_away = self.now < max(self._gateway_away, self._store_away)
        task.is_acknowledged = not is_away and dice > 0.12
        if is_away or dice < 0.06:
            self._op("info", "submit", task, call, answer_at, problem="no_answer")
        elif dice < 0.12:
            self._op("fail", "submit", task, call, answer_at, problem="queue_full")
            return
        else:
            self._op("ok", "submit", task, call, answer_at, task_id=task.task_id)
            if kind == "twice":
                self._op("invoke", "submit", task, -call, answer_at)
                self._op("ok", "submit", task, -call, answer_at + 0.003, task_id=task.task_id)
            if kind == "cancel":
                self._in(0.005 + 0.3 * (number % 2), lambda: self._cancel(task))
        if is_away and dice < 0.5:
            return
        self._in(0.002, lambda: self._enqueue(task))

    def _enqueue(self, task: Task) -> None:
        self.tasks.append(task)
        self._note(task, "submit")
        self.queue.append(task)
        self._in(0.001, self._place)
        if self.chance.random() < 0.2 and task.is_acknowledged:
            self._in(0.01 + self.chance.random() / 5, lambda: self._read(task, "read", self.now))

    def _cancel(self, task: Task) -> None:
        """Until it is answered: with how the task has ended."""
        if self.now < max(self._gateway_away, self._store_away):
            self._serial += 1
            self._op("invoke", "cancel", task, self._serial, self.now, task_id=task.task_id)
            self._op("info", "cancel", task, self._serial, self.now + 0.001, task_id=task.task_id, problem="no_answer")
            self._in(0.1, lambda: self._cancel(task))
            return
        job = task.lease
        if task in self.queue:
            self.queue.remove(task)
        if task in self.tasks and not task.digest:
            self._end(task, "cancel", "FAILED", "cancelled", job.worker_id if job else "")
        if job is not None:
            self._in(0.01, lambda: self._stop(job))
        if task in self.tasks:
            self._read(task, "cancel", self.now)

    def _stop(self, job: Execution) -> None:
        """Its worker kills it, when somebody can tell it so."""
        if self.now < self._dispatcher_away:
            self._at(self._dispatcher_away + 0.05, lambda: self._stop(job))
        elif job.lives and not job.worker.is_deaf:
            job.lives = False
            if job.slot.job is job:
                job.slot.job, job.slot.pid = None, self._pid()
            self._place()

    def _read(self, task: Task, action: Any, at: float) -> None:
        self._serial += 1
        call = self._serial
        asked = at if action == "final" else at - 0.001
        self._op("invoke", action, task, call, asked, task_id=task.task_id)
        more = {"digest": task.digest, "run": task.run, "value": task.value} if task.digest else {}
        more |= {
            "status": task.status,
            "error_kind": task.error_kind,
            "attempts": task.attempt,
            "task_id": task.task_id,
        }
        self._op("ok", action, task, call, at + 0.001 * (action == "final"), **more)

    # the service

    def _place(self) -> None:
        away = max(self._store_away, self._dispatcher_away)
        if self.now < away:
            self._at(away, self._place)
            return
        free = [(w, s) for w in self.workers if w.is_up and not w.is_deaf for s in w.slots if s.is_up and s.job is None]
        for worker, slot in free:
            if not self.queue:
                return
            task = self.queue.popleft()
            task.attempt += 1
            task.status = "RUNNING"
            task.lease = slot.job = job = Execution(task, task.attempt, self._hex(), worker, slot, worker.id)
            self._note(task, "claim", worker.id)
            if self.chance.random() < 0.02:
                self._give_back(job)
            else:
                self._in(0.001, lambda job=job: self._begin(job))

    def _give_back(self, job: Execution) -> None:
        job.slot.job, job.task.lease, job.lives = None, None, False
        self._note(job.task, "give_back", job.worker_id)
        job.task.status = "QUEUED"
        self.queue.appendleft(job.task)
        self._in(0.001, self._place)

    def _begin(self, job: Execution) -> None:
        if job.lives:
            self._mark("start", job)
            self._in(LASTS_S[job.task.kind], lambda: self._finish(job))

    def _finish(self, job: Execution) -> None:
        if not job.lives:
            return
        if job.task.kind == "poison":
            self._slot_dies(job.worker, job.slot)
            return
        self._mark("raise" if job.task.kind in RAISE else "end", job)
        job.slot.job = None
        self._deliver(job)
        self._place()

    def _deliver(self, job: Execution) -> None:
        away = max(self._store_away, self._dispatcher_away)
        if job.worker.is_deaf or not job.worker.is_up:
            job.worker.outbox.append(job)
        elif self.now < away:
            self._at(away + 0.01, lambda: self._deliver(job))
        elif job.task.lease is job:
            self._settle(job)

    def _settle(self, job: Execution) -> None:
        task = job.task
        task.run = job.run
        if task.kind not in RAISE:
            task.value = value_of(task.kind, task.number)
            self._end(task, "succeed", "COMPLETED", "", job.worker_id)
        elif task.kind == "persistent" and task.retries < 1 and self.chance.random() < 0.5:
            task.retries += 1
            task.lease, task.status = None, "QUEUED"
            self._note(task, "retry", job.worker_id, "raised")
            self._in(0.1, lambda: self._due(task))
        else:
            self._end(task, "fail", "FAILED", "raised", job.worker_id)

    def _due(self, task: Task) -> None:
        self._note(task, "due")
        self.queue.append(task)
        self._place()

    def _end(self, task: Task, move: str, status: str, error_kind: str, worker: str = "") -> None:
        task.lease, task.status, task.error_kind, task.digest = None, status, error_kind, self._hex()
        self._note(task, move, worker, error_kind or "completed")
        if task.is_acknowledged:  # a client that is slow reads what is there by then
            self._in(0.005 + self.chance.random() / 30, lambda: self._read(task, "read", self.now))

    def _lost(self, job: Execution, move: str) -> None:
        """The store decides: again, or not."""
        task = job.task
        if task.lease is not job:
            return
        task.deaths += move == "crash"
        if task.kind == "once":
            self._end(task, "give_up", "FAILED", "crashed" if move == "crash" else "worker_lost", job.worker_id)
        elif task.deaths >= 3 and move == "crash":
            self._end(task, "give_up", "FAILED", "quarantined", job.worker_id)
        else:
            task.lease, task.status = None, "QUEUED"
            self._note(task, move, job.worker_id, "crashed" if move == "crash" else "worker_lost")
            self.queue.appendleft(task)
        self._in(0.001, self._place)

    def _slot_dies(self, worker: Worker, slot: Slot) -> None:
        job, slot.job, slot.is_up = slot.job, None, False
        generation = worker.generation
        if job is not None:
            job.lives = False
            self._in(0.005, lambda: self._tell_crash(job))
        self._in(0.05, lambda: self._slot_up(worker, slot, generation))

    def _tell_crash(self, job: Execution) -> None:
        """Its worker tells of it, when it can; a worker that is lost meanwhile has lost it."""
        away = max(self._store_away, self._dispatcher_away)
        if self.now < away or (job.worker.is_deaf and job.worker.is_up and job.worker.id == job.worker_id):
            if job.task.lease is job:
                self._in(0.05, lambda: self._tell_crash(job))
        elif job.worker.is_up and job.worker.id == job.worker_id:
            self._lost(job, "crash")

    def _slot_up(self, worker: Worker, slot: Slot, generation: int) -> None:
        if worker.generation == generation or worker.is_up:
            slot.pid, slot.is_up = (self._pid() if not slot.is_up else slot.pid), True
            self._place()

    # faults

    def _strike(self, step: int, fault: str) -> None:
        name, _, role = fault.partition(" ")
        role = role or ("worker" if name == "stop" else "")
        target = Target(Role(role)) if role else None
        options = {"link": "worker-dispatcher"} if name == "net.cut" else {}
        self.steps.append(Step(step, self.now - BEGAN, name, options, target, None, 0))
        worker = self.chance.choice(self.workers)
        done = {
            "kill worker": lambda: self._kill_worker(step, worker),
            "kill slot": lambda: self._kill_slot(step, worker),
            "stop": lambda: self._silence(step, worker, name),
            "net.cut": lambda: self._silence(step, worker, name),
            "kill dispatcher": lambda: self._kill_other(step, "dispatcher"),
            "kill gateway": lambda: self._kill_other(step, "gateway"),
            "store.pause": lambda: self._pause(step),
            "store.kill": lambda: self._kill_store(step),
        }[fault]()
        if not done:
            self.strikes.append(Strike(step, name, options, self.now, detail="missed: no such process now"))

    def _hit(self, step: int, fault: str, victim: Victim | None, worker: str = "", **more: Any) -> bool:
        self.strikes.append(
            Strike(step, fault, more.pop("options", {}), self.now, self.now, victim=victim, worker=worker, **more)
        )
        return True

    def _victim(self, worker: Worker) -> Victim:
        return Victim(worker.path, "worker", worker.pid, worker.incarnation, worker.pid * 7)

    def _kill_worker(self, step: int, worker: Worker) -> bool:
        if not worker.is_up or worker.is_deaf:
            return False
        self._hit(step, "kill", self._victim(worker), worker.name)
        self._worker_dies(worker, "signal:SIGKILL")
        return True

    def _worker_dies(self, worker: Worker, reason: str) -> None:
        worker.is_up, worker.outbox = False, []
        worker.generation += 1
        pid, incarnation, lost = worker.pid, worker.incarnation, worker.id
        for slot in worker.slots:
            if slot.job is not None:
                slot.job.lives = False
            slot.job, slot.is_up = None, False
        self._in(0.002, lambda: self._child("child.down", worker.path, incarnation, pid, reason))
        self._in(0.01, lambda: self._lose(lost))
        self._in(0.3, lambda: self._worker_up(worker))

    def _lose(self, worker_id: str) -> None:
        away = max(self._store_away, self._dispatcher_away)
        if self.now < away:
            self._at(away + 0.02, lambda: self._lose(worker_id))
            return
        for task in list(self.tasks):
            if task.lease is not None and task.lease.worker_id == worker_id:
                self._lost(task.lease, "lose_worker")

    def _worker_up(self, worker: Worker) -> None:
        worker.incarnation += 1
        worker.is_up, worker.is_deaf, worker.pid = True, False, self._pid()
        worker.slots = [Slot(self._pid()) for _ in worker.slots]
        self._child("child.up", worker.path, worker.incarnation, worker.pid)
        self._place()

    def _kill_slot(self, step: int, worker: Worker) -> bool:
        slot = self.chance.choice(worker.slots)
        if not worker.is_up or worker.is_deaf or not slot.is_up:
            return False
        number = worker.slots.index(slot)
        self._hit(step, "kill", Victim(f"{worker.path}/slot-{number}", "slot", slot.pid, 1, slot.pid * 7), worker.name)
        self._slot_dies(worker, slot)
        return True

    def _silence(self, step: int, worker: Worker, fault: str) -> bool:
        if not worker.is_up or worker.is_deaf:
            return False
        for_s = self.chance.uniform(0.3, 7)
        last_beat = self.now - self.chance.random()
        victim = self._victim(worker) if fault == "stop" else None
        options = {} if fault == "stop" else {"link": "worker-dispatcher"}
        self._hit(step, fault, victim, worker.name, options=options, undone_at=self.now + for_s, last_beat_at=last_beat)
        worker.is_deaf = True
        worker.generation += 1
        generation = worker.generation
        lost_at = max(last_beat + 3.0, self.now + 0.001)
        if lost_at < self.now + for_s:
            notice = self._overdue if fault == "stop" else self._cut_off
            self._at(lost_at, lambda: notice(worker, generation))
        if fault == "net.cut" or lost_at >= self.now + for_s:
            self._in(for_s, lambda: self._heard_again(worker, generation))
        return True

    def _overdue(self, worker: Worker, generation: int) -> None:
        if worker.generation == generation:
            self._child("child.overdue", worker.path, worker.incarnation, worker.pid)
            self._child("child.killed", worker.path, worker.incarnation, worker.pid)
            self._worker_dies(worker, "heartbeat_lost")

    def _cut_off(self, worker: Worker, generation: int) -> None:
        """The dispatcher takes away what the worker has, which works on without knowing."""
        if worker.generation == generation:
            self._lose(worker.id)

    def _heard_again(self, worker: Worker, generation: int) -> None:
        """What it holds is its own no longer, or it goes on."""
        if worker.generation != generation:
            return
        worker.is_deaf = False
        for slot in worker.slots:
            if slot.job is not None and slot.job.task.lease is not slot.job:
                slot.job.lives, slot.job, slot.pid = False, None, self._pid()
        outbox, worker.outbox = worker.outbox, []
        for job in outbox:
            self._deliver(job)
        self._place()

    def _kill_other(self, step: int, role: str) -> bool:
        path = f"root/{role}"
        self._hit(step, "kill", Victim(path, role, 50 + len(role), 1, 7))
        self._child("child.down", path, 1, 50, "signal:SIGKILL")
        self._in(0.25, lambda: self._child("child.up", path, 2, 51))
        if role == "gateway":
            self._gateway_away = self.now + 0.25
        else:
            self._dispatcher_away = self.now + 0.25
            self._in(0.24, self._inherit)
        return True

    def _inherit(self) -> None:
        for task in self.tasks:
            if task.lease is not None and self.chance.random() < 0.5:
                self._note(task, "inherit", task.lease.worker_id, "dispatcher-1")

    def _pause(self, step: int) -> bool:
        for_s = self.chance.uniform(0.2, 2)
        self._store_away = max(self._store_away, self.now + for_s)
        return self._hit(step, "store.pause", None, undone_at=self.now + for_s)

    def _kill_store(self, step: int) -> bool:
        """Back after 0.4 s.  With everysec it has forgotten what happened in its last half second."""
        self._store_away = max(self._store_away, self.now + 0.4)
        self._hit(step, "store.kill", Victim("root/store", "store", 2, 1, 7))
        if self._durability == "everysec":
            for task in list(self.tasks):
                self._forget(task, self.now - 0.5)
        return True

    def _forget(self, task: Task, since: float) -> None:
        story = [move for move in self.moves if isinstance(move, TaskMove) and move.task_id == task.task_id]
        forgotten = [move for move in story if move.at >= since]
        if not forgotten or task.lease is not None:
            return
        if forgotten[0].move == "submit":
            self.queue = deque(other for other in self.queue if other is not task)
            self.tasks.remove(task)
            if task.is_acknowledged:
                self.lost.append(task)
        elif task.digest and any(move.move in ENDS for move in forgotten):
            task.attempt -= sum(move.move == "claim" for move in forgotten)
            task.status, task.error_kind, task.digest, task.run, task.value = "QUEUED", "", "", "", ""
            self.queue.appendleft(task)
            self._in(0.41, self._place)

    def _census(self, at: float) -> Census:
        def node(path: str, role: str, pid: int, *children: TreeNode) -> TreeNode:
            return TreeNode(path.rpartition("/")[2], path, role, pid, ChildState.RUNNING, 1, 0, children)

        workers = [
            node(w.path, "worker", w.pid, *(node(f"{w.path}/slot-{n}", "slot", s.pid) for n, s in enumerate(w.slots)))
            for w in self.workers
        ]
        tree = node(
            "root",
            "root",
            1,
            node("root/store", "store", 2),
            node("root/dispatcher", "dispatcher", 3 + (at > 0)),
            node("root/workers", "supervisor", 6, *workers),
            node("root/gateway", "gateway", 7),
        )
        return Census(at, tree, 20, 300 << 20, 20 + len(self.tasks), 120)


def valid(seed: int, **more: Any) -> Evidence:
    """Evidence of a run that keeps every promise."""
    return Paper(seed, **more).evidence()
