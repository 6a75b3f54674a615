"""Shell: the slot processes of one worker; it tells the core what happens to them and carries out what the core wants.

It holds no policy: which task goes where, and what a death means, is decided in ``slots``, and when a task is over, in
``judge``: that is asked once at the end of each round in which anything happened, and when it wants to be.
"""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, assert_never

import msgspec

from regrow.actors import meter, packets
from regrow.actors.adopted import Adopted
from regrow.actors.effects import Death, Deliver, Effect, Feed, GiveBack, GiveUp, Kill, Measure, NeedCode, Spawn, Steal
from regrow.actors.events import Event
from regrow.actors.judge import Judge
from regrow.actors.obituaries import Obituaries
from regrow.actors.oom import OomKills
from regrow.actors.output_log import OutputLog
from regrow.actors.packets import Ready
from regrow.actors.slot_process import SlotProcess
from regrow.actors.slots import Answers, Slots
from regrow.runtime.actor import Context
from regrow.runtime.clock import wall
from regrow.runtime.errors import StartFailed
from regrow.runtime.logs import log
from regrow.runtime.loop import Timer
from regrow.runtime.spec import ChildState, ExitReason, Heartbeat, ReasonKind
from regrow.runtime.tree import TreeNode

START_S: Final = 30.0  # a slot that is not ready by then is killed
LIVENESS: Final = Heartbeat().liveness  # looks in a row that find a slot stopped, after which it is killed
ORPHANS_S: Final = 1.0  # how long the end of what tasks have left may take when the worker ends

ForDispatcher = NeedCode | Deliver | GiveBack


class Rules(Protocol):
    """What is the same for all slots of a worker."""

    @property
    def max_payload_bytes(self) -> int:
        """Of one result."""
        ...

    @property
    def import_path(self) -> tuple[str, ...]:
        """Directories that user code may import from."""
        ...


class Crew:
    """The processes behind ``slots``. ``tell`` takes the effects that are for the dispatcher."""

    def __init__(
        self,
        context: Context,
        slots: Slots,
        folder: Path,
        rules: Rules,
        tell: Callable[[ForDispatcher], None],
    ) -> None:
        self._context = context
        self._slots = slots
        self._folder = folder
        self._rules = rules
        self._tell = tell
        self._processes: dict[int, SlotProcess] = {}
        self._lives = [0] * len(slots.slots)  # processes started per slot
        self._output_log = OutputLog(context, len(slots.slots))
        self._stopped: Counter[int] = Counter()  # pids of slots seen stopped, and at how many looks in a row
        self._adopted = Adopted(context, lambda: frozenset(process.pid for process in self._processes.values()))
        self._oom_kills = OomKills()
        self._obituaries = Obituaries(context.path)
        self._judge = Judge(slots, len(os.sched_getaffinity(0)))
        self._is_judge_due = False
        self._judge_timer: Timer | None = None
        self._is_ready = False  # has any slot ever been?
        self._is_closed = False

    def carry(self, effects: list[Effect]) -> None:
        """Carry effects out, in order, with those that follow from them."""
        todo = list(reversed(effects))
        while todo:
            todo.extend(reversed(self._carry(todo.pop())))
        if self._slots.has_bounds and not self._is_judge_due:
            self._judge_soon()

    def look(self) -> None:
        """Kill slots that have been stopped for a whole window: they would hold their task for ever.

        A look takes the place of a beat, which code that holds the interpreter could not send.
        """
        self._oom_kills.look()
        stopped = {process.pid: number for number, process in self._processes.items() if process.is_stopped()}
        self._stopped = Counter({pid: self._stopped[pid] + 1 for pid in stopped})
        for pid, number in stopped.items():
            if self._stopped[pid] >= LIVENESS:
                self.carry(self._slots.condemn(number, "it was stopped (SIGSTOP)"))

    def pid_of(self, number: int) -> int | None:
        """The process of a slot; ``None`` while it has none."""
        process = self._processes.get(number)
        return process.pid if process is not None else None

    def close(self) -> None:
        """Kill every slot with its process group, wait until they are gone, and log the last that they printed."""
        self._is_closed = True
        for process in self._processes.values():
            process.kill()
        for number, process in list(self._processes.items()):
            self._part(number)
            process.note_output()
            self._output_log.write(number, process)
            process.bury()
        self._output_log.close()
        self._adopted.close(ORPHANS_S)

    def _carry(self, effect: Effect) -> list[Effect]:
        match effect:
            case Feed(number, turn, digest, params, code, limits, checksum):
                self._processes[number].feed(turn, packets.Call(digest, params, code, limits, checksum))
            case Spawn(number, delay_s):
                return self._spawn_later(number, delay_s)
            case Kill(number):
                if number in self._processes:
                    self._processes[number].kill()
            case Steal(number):
                unread = self._processes[number].unread()
                return self._slots.stolen(number, unread, self._answers(number))
            case Measure(number):
                usage = meter.usage(self._processes[number].pid)
                return self._judge.measured(number, usage, self._context.now())
            case GiveUp(note):
                self._context.exit(ExitReason(ReasonKind.EXCEPTION, StartFailed.__name__, note))
            case NeedCode() | Deliver() | GiveBack():
                self._tell(effect)
            case _:
                assert_never(effect)
        return []

    def _judge_soon(self) -> None:
        self._is_judge_due = True
        self._context.after(0.0, self._judge_all)

    def _judge_all(self) -> None:
        """What has started in this round is watched from now on; what is over ends; and when to ask next."""
        if self._is_closed:
            return
        effects = self._judge.judge(self._context.now())
        self._is_judge_due = True
        self.carry(effects)
        self._is_judge_due = False
        if effects:
            self._judge_soon()
        else:
            self._arm_judge()

    def _arm_judge(self) -> None:
        due, timer = self._judge.next_deadline(), self._judge_timer
        if due is None or (timer is not None and timer.callback is not None and timer.at <= due):
            return  # a timer that is early finds nothing, and is set again
        if timer is not None:
            timer.cancel()
        self._judge_timer = self._context.after(due - self._context.now(), self._judge_all)

    def _spawn_later(self, number: int, delay_s: float) -> list[Effect]:
        if not delay_s:
            return self._spawn(number)
        self._context.after(delay_s, lambda: self.carry(self._spawn(number)))
        self._show()
        return []

    def _spawn(self, number: int) -> list[Effect]:
        if self._is_closed:
            return []
        self._lives[number] += 1
        life = self._lives[number]
        title = f"regrow: {self._context.path}/slot-{number}"
        folder = self._folder / f"slot-{number}-{life}"
        try:
            process = SlotProcess(folder, title, self._rules.max_payload_bytes, self._rules.import_path)
        except OSError as error:
            return self._slots.exited(number, [], [], Death(type(error).__name__, str(error)))
        self._processes[number] = process
        self._context.watch(process.pidfd, lambda: self._on_end(number, process))
        self._context.watch(process.end, lambda: self._on_answer(number, process))
        self._context.watch(process.printed, lambda: self._on_output(number, process))
        self._context.after(START_S, lambda: self._on_late(number, process))
        self._show()
        return []

    def _is_current(self, number: int, process: SlotProcess) -> bool:
        """A callback may come for a process that was buried earlier in the same round."""
        return self._processes.get(number) is process

    def _on_answer(self, number: int, process: SlotProcess) -> None:
        if self._is_current(number, process):
            self.carry(self._slots.ended(number, self._answers(number)))
            if process.has_lines and self._is_current(number, process):
                self._output_log.write(number, process)

    def _on_output(self, number: int, process: SlotProcess) -> None:
        """First see how much there is, then read answers, then the output: so it is known whose it is (see ``output``)."""
        if not self._is_current(number, process):
            return
        process.note_output()
        if process.falls_silent():
            self._context.unwatch(process.printed)
        self._on_answer(number, process)
        if self._is_current(number, process):
            self._output_log.write(number, process)
            if self._slots.has_bounds:
                self.carry(self._judge.printing(number, process.output.size_bytes, self._context.now()))

    def _on_late(self, number: int, process: SlotProcess) -> None:
        if self._is_current(number, process) and self._slots.is_starting(number):
            self.carry(self._slots.condemn(number, f"it was not ready within {START_S:.0f} s"))

    def _on_end(self, number: int, process: SlotProcess) -> None:
        if not self._is_current(number, process) or not process.has_ended():
            return
        answers = self._answers(number)
        while more := self._answers(number):
            answers += more
        unread = process.unread()
        process.note_output()
        self._output_log.write(number, process)
        self._adopted.sweep()  # before it is buried: so somebody hears of its end, even if this worker is killed here
        death = self._part(number).bury()
        if death.reason == "signal:SIGKILL" and self._oom_kills.has_risen():
            death = msgspec.structs.replace(death, is_oom=True)
        log.info(Event.SLOT_DOWN, slot=number, slot_pid=process.pid, reason=death.reason)
        now, life = self._context.now(), self._lives[number]
        if told := self._obituaries.of(number, life, process.pid, death.reason, now, wall()):
            self._context.tell(told)
        self.carry(self._slots.exited(number, unread, answers, death))
        self._show()

    def _part(self, number: int) -> SlotProcess:
        """The process is no longer watched nor a slot's."""
        process = self._processes.pop(number)
        self._context.unwatch(process.pidfd)
        self._context.unwatch(process.end)
        if not process.is_silent:
            self._context.unwatch(process.printed)
        return process

    def _answers(self, number: int) -> Answers:
        """What a slot has answered; its greeting, and garbage, are told to the core on the way."""
        process = self._processes[number]
        answers: Answers = []
        for turn, message in process.answers(self._context.now()):
            if isinstance(message, Ready):
                self._on_ready(number, process)
            else:
                answers.append((turn, message))
        if process.has_printed:
            self._slots.printed(number, process.take_printed())
        if process.garbage:
            self.carry(self._slots.condemn(number, process.garbage))
        return answers

    def _on_ready(self, number: int, process: SlotProcess) -> None:
        log.info(Event.SLOT_UP, slot=number, slot_pid=process.pid)
        self.carry(self._slots.ready(number))
        if not self._is_ready:
            self._is_ready = True
            self._context.ready()
        self._show()

    def _show(self) -> None:
        """Put the slots into pictures of the tree."""
        self._context.show_children([self._node(number) for number in range(len(self._lives))])

    def _node(self, number: int) -> TreeNode:
        process, life = self._processes.get(number), self._lives[number]
        state = ChildState.BACKOFF if process is None else ChildState.STARTING
        if process is not None and not self._slots.is_starting(number):
            state = ChildState.RUNNING
        name = f"slot-{number}"
        pid = process.pid if process is not None else None
        return TreeNode(name, f"{self._context.path}/{name}", "slot", pid, state, life, max(0, life - 1))
