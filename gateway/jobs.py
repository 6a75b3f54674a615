"""Values: what a client carries: functions, and tasks on their way."""

import copy
import hashlib
from collections.abc import Iterable
from typing import Protocol

from regrow.gateway.answers import TaskView
from regrow.gateway.client_errors import ClientError


class Function:
    """A function as it was captured: later changes to it, or to what it refers to, are not in it."""

    __slots__ = ("digest", "name", "payload")

    def __init__(self, name: str, payload: bytes) -> None:
        self.name = name
        self.payload = payload
        self.digest = hashlib.sha256(payload).digest()


class Job(Protocol):
    """One task on its way.  ``end`` or ``fail`` tells it how it went, and only the first word counts.

    Everything is called in the client's loop.
    """

    @property
    def function(self) -> Function | str:
        """What to call; a str is the id of a function that the gateway has."""

    @property
    def params(self) -> bytes:
        """The pickle of ``((args...), {kwargs})``."""

    def claim(self) -> bool:
        """It is about to be sent.  False: its caller has cancelled it, and it must not be."""

    def accept(self, task_id: str) -> None:
        """The gateway has taken it."""

    def is_wanted(self) -> bool:
        """Does anybody still wait for it?"""

    def end(self, task: TaskView) -> None:
        """The task has ended."""

    def fail(self, error: ClientError) -> None:
        """It was not accepted, or how it ends will not be heard here."""


def fail_all(jobs: Iterable[Job], error: ClientError) -> None:
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
