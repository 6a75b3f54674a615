"""Core: what people and actors may ask of a supervisor: start, terminate, restart or delete a child, resize a pool.

Theory of operation
    Operations queue up and are carried out one at a time, so that each meets a table that nobody else is rearranging.
    One that has to wait for a process stays *current* until ``acknowledged``, ``failed`` or ``ended`` tells of the
    child that it is about; the others are answered where they stand. The supervision core says when the queue may
    move (``proceed``), and ends it with ``refuse``. Every ticket is answered exactly once.

    A start that was asked for is tried once: the asker hears of the failure and decides. Ending a child by an
    operation is nobody's failure: it costs no restart and never makes a supervisor shut itself down.

    A pool of size n has the numbers 0 to n-1. One whose restart type lets it end keeps its number and counts towards
    the size; only a Resize fills numbers that have no child any more (ended temporary ones, deleted ones).

    **What outlives the supervisor itself** is its spec: the size of its pool, and the arguments of the children in its
    list. Whenever these change it says so (Respecified), its parent keeps the new spec as the child's arguments, and
    in doing so may itself have a new spec: so the change travels up to the root. As in OTP, children that were added,
    stopped or deleted by an operation are forgotten by its restart: it comes back with the list of its spec.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import assert_never

import msgspec

from regrow.runtime.budget import RestartBudget
from regrow.runtime.children import Child, Children
from regrow.runtime.errors import ConfigError
from regrow.runtime.spec import ChildSpec, ChildState, ExitReason, Intensity, SupervisorSpec, validate_child
from regrow.runtime.stimuli import (
    Answered,
    DeleteChild,
    Effect,
    Operation,
    Refusal,
    Resize,
    Respecified,
    RestartChild,
    StartChild,
    TerminateChild,
)


def pool_members(template: ChildSpec, size: int) -> list[ChildSpec]:
    """The specs of a pool's numbers 0 to ``size - 1``."""
    return [msgspec.structs.replace(template, id=f"{template.id}-{number}") for number in range(size)]


def allowance(spec: SupervisorSpec, size: int) -> Intensity:
    """The restarts that a supervisor may make while its pool has ``size`` children (0 without a pool)."""
    restarts = spec.intensity.restarts + spec.pool_intensity_per_child * size
    return Intensity(restarts, spec.intensity.within_s)


@dataclass(slots=True)
class Operations:
    """The queue of operations, and the one that is under way."""

    spec: SupervisorSpec  # as it is now
    children: Children
    budget: RestartBudget
    current: Operation | None = None
    _queue: deque[Operation] = field(default_factory=deque)

    def ask(self, operation: Operation) -> None:
        """Take a request; ``proceed`` or ``refuse`` will answer it."""
        self._queue.append(operation)

    def proceed(self, now: float) -> list[Effect]:
        """Carry out what is queued, up to the first operation that has to wait for a process."""
        effects: list[Effect] = []
        while self.current is None and self._queue:
            effects += self._carry_out(self._queue.popleft(), now)
        return effects

    def refuse(self) -> list[Effect]:
        """The supervisor is ending: answer all, the current one too."""
        refused = [self.current, *self._queue] if self.current else list(self._queue)
        self.current = None
        self._queue.clear()
        return [Answered(operation.ticket, Refusal.STOPPING) for operation in refused]

    def is_trying(self, child: Child) -> bool:
        """Whether the current operation waits for ``child`` to become ready."""
        match self.current:
            case StartChild(spec=spec):
                return spec.id == child.id
            case RestartChild(child=child_id):
                return child_id == child.id
            case _:
                return False

    def acknowledged(self, child: Child) -> list[Effect]:
        """``child`` is ready."""
        return self._done() if self.is_trying(child) else []

    def failed(self, child: Child, reason: ExitReason) -> list[Effect]:
        """The start that was tried failed. What was to be added is forgotten, what was known is kept."""
        if isinstance(self.current, StartChild):
            self.children.forget(child)
        return self._done(Refusal.START_FAILED, str(reason))

    def ended(self, child: Child) -> list[Effect]:
        """``child`` is gone because it was stopped."""
        match self.current:
            case TerminateChild(child=child_id) if child_id == child.id:
                return self._done()
            case Resize() if not any(other.is_leaving for other in self.children):
                return self._done()
            case _:
                return []

    def respecify(self, child: Child | None, arguments: bytes) -> list[Effect]:
        """``child`` is started with other arguments from now on."""
        if child is None or child.spec.arguments == arguments:
            return []
        former, child.spec = child.spec, msgspec.structs.replace(child.spec, arguments=arguments)
        if former not in self.spec.children:  # of a pool, or added by an operation
            return []
        children = tuple(child.spec if spec == former else spec for spec in self.spec.children)
        return self._become(msgspec.structs.replace(self.spec, children=children))

    def _become(self, spec: SupervisorSpec) -> list[Effect]:
        self.spec = spec
        return [Respecified(spec)]

    def _carry_out(self, operation: Operation, now: float) -> list[Effect]:
        self.current = operation
        match operation:
            case StartChild(spec=spec):
                return self._start(spec, now)
            case TerminateChild(child=child_id):
                return self._terminate(self.children.get(child_id), now)
            case RestartChild(child=child_id):
                return self._restart(self.children.get(child_id), now)
            case DeleteChild(child=child_id):
                return self._delete(self.children.get(child_id))
            case Resize(size=size):
                return self._resize(size, now)
            case _:
                assert_never(operation)

    def _start(self, spec: ChildSpec, now: float) -> list[Effect]:
        if self.spec.pool is not None:
            return self._done(Refusal.IS_A_POOL, "resize the pool")
        known = self.children.get(spec.id)
        if known is not None:
            is_idle = known.state is ChildState.EXITED
            return self._done(Refusal.ALREADY_PRESENT if is_idle else Refusal.ALREADY_STARTED)
        if len(self.children) >= self.spec.max_size:
            return self._done(Refusal.MAX_CHILDREN, f"at most {self.spec.max_size}")
        try:
            validate_child(spec, self.spec.auto_shutdown)
        except ConfigError as error:
            return self._done(Refusal.INVALID_SPEC, str(error))
        return self.children.add(spec).start(now)

    def _terminate(self, child: Child | None, now: float) -> list[Effect]:
        if child is None:
            return self._done(Refusal.NOT_FOUND)
        if child.is_live:
            return child.stop(now)
        return [*child.call_off(), *self._done()]

    def _restart(self, child: Child | None, now: float) -> list[Effect]:
        if child is None or child.state is not ChildState.EXITED:
            return self._done(_why_not_idle(child))
        child.loop.length = 0
        return child.start(now)

    def _delete(self, child: Child | None) -> list[Effect]:
        if child is None or child.state is not ChildState.EXITED:
            return self._done(_why_not_idle(child))
        self.children.forget(child)
        return self._done()

    def _resize(self, size: int, now: float) -> list[Effect]:
        if self.spec.pool is None:
            return self._done(Refusal.NOT_A_POOL)
        if not 0 <= size <= self.spec.max_size:
            return self._done(Refusal.MAX_CHILDREN, f"0 to {self.spec.max_size}")
        self.budget.intensity = allowance(self.spec, size)
        wanted = pool_members(self.spec.pool, size)
        surplus = {child.id for child in self.children} - {member.id for member in wanted}
        effects = self._become(msgspec.structs.replace(self.spec, size=size)) + self._shrink(surplus, now)
        for member in wanted:
            if self.children.get(member.id) is None:
                effects += self.children.add(member).start(now)
        return effects if any(child.is_leaving for child in self.children) else [*effects, *self._done()]

    def _shrink(self, surplus: set[str], now: float) -> list[Effect]:
        """Stop those children, each with its own grace; forget the ones that have no process at once."""
        effects: list[Effect] = []
        for child in [child for child in self.children if child.id in surplus]:
            if child.is_live:
                child.is_leaving = True
                effects += child.stop(now)
            else:
                effects += child.call_off()
                self.children.forget(child)
        return effects

    def _done(self, error: Refusal | None = None, detail: str = "") -> list[Effect]:
        assert self.current is not None
        ticket = self.current.ticket
        self.current = None
        return [Answered(ticket, error, detail)]


def _why_not_idle(child: Child | None) -> Refusal:
    if child is None:
        return Refusal.NOT_FOUND
    return Refusal.RESTARTING if child.state is ChildState.BACKOFF else Refusal.RUNNING
