"""Core: a worker's process on paper, as far as its slots go: the real ``Slots`` and ``Judge``, in a model of ``actors/crew.py``.

What is left out: memory and output.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Protocol

from regrow.actors import wire
from regrow.actors.effects import Death, Deliver, Effect, Feed, GiveBack, GiveUp, Kill, Measure, NeedCode, Spawn, Steal
from regrow.actors.judge import Judge, Usage
from regrow.actors.packets import Answer
from regrow.actors.slots import Slots
from regrow.actors.task import WorkerId
from regrow.chaos.simulation.chance import Chance
from regrow.chaos.simulation.clock import Clock
from regrow.chaos.simulation.network import Hears, Path
from regrow.chaos.simulation.pace import SLOT_LOOKS, SLOT_START_S
from regrow.chaos.simulation.process import KILLED, Process
from regrow.chaos.simulation.slot import Call, SlotProcess, Witness
from regrow.chaos.simulation.task_plan import Life
from regrow.runtime.spec import ExitReason, ReasonKind


class Surroundings(Protocol):
    """What a worker needs of its world."""

    clock: Clock
    dice: Chance
    witness: Witness

    def saw(self, what: str) -> None:
        """Something of interest has happened."""
        ...

    def new_id(self, place: str) -> WorkerId:
        """Of a worker at this place."""
        ...

    def life_of(self, params: bytes) -> Life:
        """The task with these parameters."""
        ...

    def granted(self, worker: WorkerId, tasks: int) -> None:
        """When this is said."""
        ...


class Post(Protocol):
    """What a worker's place in a tree gives it; outside of a tree, what stands for that."""

    place: str
    tree: str
    path: str
    mode: wire.Mode
    slots: int
    drain_s: float
    network: Path

    @property
    def door(self) -> Callable[[], Hears | None]:
        """Who answers at its dispatcher's endpoint."""
        ...

    def ready(self) -> None:
        """Its first slot is ready."""
        ...

    def beat(self) -> None:
        """A beat for its supervisor."""
        ...


class CrewedProcess(Process):
    """A worker with its slots; ``_tell`` is what its dispatcher is to hear of them."""

    def __init__(self, world: Surroundings, post: Post) -> None:
        super().__init__(world.clock, post.place)
        self.post = post
        self.core = Slots(post.slots)
        self.slots: dict[int, SlotProcess] = {}
        self.worker_id = world.new_id(post.place)
        self._world = world
        self._judge = Judge(self.core, 2)
        self._judge_at: float | None = None
        self._is_judge_due = self._is_flush_due = self._is_ready = False
        self._stopped: Counter[SlotProcess] = Counter()

    @abstractmethod
    def _tell(self, effect: NeedCode | Deliver | GiveBack) -> None:
        """Its dispatcher is to hear this."""

    def _look(self) -> None:
        stopped = [slot for slot in self.slots.values() if slot.is_frozen]
        if not stopped and not self._stopped:
            return
        self._stopped = Counter({slot: self._stopped[slot] + 1 for slot in stopped})
        for slot in stopped:
            if self._stopped[slot] >= SLOT_LOOKS:
                self._world.saw("slot found stopped")
                self._carry(self.core.condemn(slot.number, "it was stopped (SIGSTOP)"))

    def _carry(self, effects: list[Effect]) -> None:
        todo = effects[::-1]
        while todo:
            todo.extend(reversed(self._carry_one(todo.pop())))
        if self.core.has_bounds and not self._is_judge_due:
            self._is_judge_due = True
            self.after(0.0, self._judge_all)

    def _carry_one(self, effect: Effect) -> list[Effect]:
        match effect:
            case Feed(number, turn, digest, params, code):
                job = self.core.slots[number].fed[turn]
                life = self._world.life_of(params)
                self.slots[number].feed(Call(turn, digest, code is not None, life, job.task.attempt))
            case Deliver() | NeedCode() | GiveBack():
                self._tell(effect)
            case Steal(number):
                unread = self.slots[number].unread()
                return self.core.stolen(number, unread, self._answers(self.slots[number]))
            case Spawn(number, delay_s):
                if delay_s:
                    self.after(delay_s, partial(self._spawn, number))
                else:
                    self._spawn(number)
            case Kill(number):
                if number in self.slots:
                    self.slots[number].end(KILLED)
            case Measure(number):
                return self._judge.measured(number, Usage(), self.clock.now)
            case GiveUp(note):
                self.end(ExitReason(ReasonKind.EXCEPTION, "StartFailed", note))
        return []

    def _judge_all(self) -> None:
        effects = self._judge.judge(self.clock.now)
        self._is_judge_due = True
        self._carry(effects)
        self._is_judge_due = False
        if effects:
            self._is_judge_due = True
            self.after(0.0, self._judge_all)
            return
        due = self._judge.next_deadline()
        if due is not None and (self._judge_at is None or self._judge_at > due or self._judge_at <= self.clock.now):
            self._judge_at = due
            self.after(max(0.0, due - self.clock.now), self._judge_all)

    def _spawn(self, number: int) -> None:
        world = self._world
        slot = SlotProcess(self.clock, f"{self.name}/slot-{number}", number, self, world.witness, world.dice)
        self.slots[number] = slot
        self.below = list(self.slots.values())
        slot.mourners.append(lambda reason: self.hear(partial(self._slot_ended, slot, reason)))
        slot.after(0.04 + 0.1 * world.dice.random(), partial(self._slot_starts, slot))
        self.after(SLOT_START_S, partial(self._slot_late, slot))

    def _slot_starts(self, slot: SlotProcess) -> None:
        self.hear(partial(self._slot_ready, slot))
        slot.ready()

    def _slot_ready(self, slot: SlotProcess) -> None:
        if self.slots.get(slot.number) is slot:
            self._carry(self.core.ready(slot.number))
            self._is_flush_due = True
            if not self._is_ready:
                self._is_ready = True
                self.post.ready()

    def _slot_late(self, slot: SlotProcess) -> None:
        if self.slots.get(slot.number) is slot and self.core.is_starting(slot.number):
            self._carry(self.core.condemn(slot.number, "it was not ready in time"))

    def slot_answered(self, slot: SlotProcess) -> None:
        """A slot's answer has come."""
        self.hear(partial(self._slot_answered, slot))

    def _slot_answered(self, slot: SlotProcess) -> None:
        if self.slots.get(slot.number) is slot and slot.answers:
            self._carry(self.core.ended(slot.number, self._answers(slot)))

    def _answers(self, slot: SlotProcess) -> list[tuple[int, Answer]]:
        answers = list(slot.answers)
        slot.answers.clear()
        return answers

    def _slot_ended(self, slot: SlotProcess, reason: ExitReason) -> None:
        if self.slots.get(slot.number) is not slot:
            return
        answers, unread = self._answers(slot), slot.unread()
        del self.slots[slot.number]
        self._world.saw("slot died" + (" with unread tasks" if unread else ""))
        self._carry(self.core.exited(slot.number, unread, answers, Death(str(reason))))
        self._is_flush_due = True
