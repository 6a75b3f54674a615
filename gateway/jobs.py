"""Values: what a client carries: functions, and tasks on their way."""

import copy
import hashlib
from collections.abc import Iterable
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

import msgspec

from regrow.gateway.answers import FunctionRequest, TaskRequest, TaskView, encode
from regrow.gateway.client_errors import ClientError

P = ParamSpec("P")
R = TypeVar("R", covariant=True)


class Function(Generic[P, R]):
    """A function as it was captured, with its terms: later changes to it, or to what it refers to, are not in it.

    Usable wherever a client takes a function.  ``digest`` tells it from the same code under other terms.
    """

    __slots__ = ("digest", "request")

    def __init__(self, request: FunctionRequest) -> None:
        self.request = request
        terms = encode(msgspec.structs.replace(request, name="", payload=b""))
        self.digest = hashlib.sha256(request.payload).digest() + hashlib.sha256(terms).digest()

    @property
    def name(self) -> str:
        """What people know it by."""
        return self.request.name


class Waiter(Protocol):
    """Somebody who waits for a task's end.  ``end`` or ``fail`` tells how it went, and only the first word counts.

    Everything is called in the client's loop.
    """

    def is_wanted(self) -> bool:
        """Does anybody still wait for it?"""

    def end(self, task: TaskView) -> None:
        """The task has ended."""

    def fail(self, error: ClientError) -> None:
        """It was not accepted, or how it ends will not be heard here."""


class Job(Waiter, Protocol):
    """One task on its way."""

    @property
    def function(self) -> Function[..., Any] | str:
        """What to call; a str is the id of a function that the gateway has."""

    @property
    def options(self) -> TaskRequest:
        """How: a request with everything but the call; its key is "" where the task is to have one of its own."""

    @property
    def params(self) -> bytes:
        """The pickle of ``((args...), {kwargs})``."""

    def claim(self) -> bool:
        """It is about to be sent.  False: its caller has cancelled it, and it must not be."""

    def accept(self, task_id: str) -> None:
        """The gateway has taken it."""


class Crowd:
    """Those who wait for one task."""

    __slots__ = ("waiters",)

    def __init__(self, *waiters: Waiter) -> None:
        self.waiters = list(waiters)

    def is_wanted(self) -> bool:
        return any(waiter.is_wanted() for waiter in self.waiters)

    def end(self, task: TaskView) -> None:
        for waiter in self.waiters:
            waiter.end(task)

    def fail(self, error: ClientError) -> None:
        fail_all(self.waiters, error)


def fail_all(jobs: Iterable[Waiter], error: ClientError) -> None:
    """Fail each with an error of its own: a raised exception collects tracebacks, so two futures must not share one."""
    for job in jobs:
        own = copy.copy(error)
        own.__cause__ = error.__cause__
        job.fail(own)


def bug(error: BaseException) -> ClientError:
    """What the jobs are told that an error of the client's own making has stranded: a failed future, not a hanging one."""
    unexpected = ClientError(f"the client itself failed: {type(error).__name__}: {error}")
    unexpected.__cause__ = error
    return unexpected
