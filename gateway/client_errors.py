"""Values: the errors of the Python client.

::

    RegrowError
    └─ ClientError
       ├─ NotPicklable         a function or a parameter cannot travel; raised by the submitting call itself
       ├─ GatewayUnavailable   no gateway answered within the client's patience; nothing was accepted
       ├─ SubmitUnknown        a submit was sent, and patience ended without an answer: its task may have been accepted
       ├─ Refused              the gateway said no: an unknown id, a payload too large, a queue that stays full
       ├─ ValueUnloadable      a task completed, but its value does not load in this process
       ├─ ClientClosed         the client was closed before it heard how the task ended; the task itself goes on
       └─ TaskFailed           a task FAILED, and there is no exception of its own to raise
          └─ TaskCancelled     somebody cancelled it; a concurrent.futures.CancelledError as well

A task whose function raised raises that very exception, with ``RemoteTraceback`` as its cause.
"""

from concurrent.futures import CancelledError
from typing import ClassVar

from regrow.runtime.errors import RegrowError


class ClientError(RegrowError):
    """Base of everything that the client itself raises."""

    code: ClassVar[str] = "client"


class NotPicklable(ClientError, TypeError):
    """A function, an argument or something that they refer to cannot be pickled."""

    code = "not_picklable"


class GatewayUnavailable(ClientError):
    """No gateway answered in time.  Nothing that failed with this error was accepted; waits can be repeated."""

    code = "gateway_unavailable"


class SubmitUnknown(ClientError):
    """A submit was sent, again and again, and never answered: the task may or may not run.

    The client sends each task under one idempotency key, so trying again has made no second run.  Submitting the call
    anew makes another task: do that only if a second run is harmless.
    """

    code = "submit_unknown"


class Refused(ClientError):
    """The gateway answered with an error: ``status`` is HTTP's, ``reason`` its stable code, ``detail`` its text."""

    code = "refused"

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(status, reason, detail)
        self.status = status
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.detail or 'refused'} ({self.reason}, {self.status})"


class ValueUnloadable(ClientError):
    """The task COMPLETED, but its value cannot be unpickled here: see the cause."""

    code = "value_unloadable"


class ClientClosed(ClientError):
    """The client was closed; ask another one for the task by its id."""

    code = "client_closed"


class TaskFailed(ClientError):
    """A task FAILED without an exception that could be raised here.

    ``kind`` says why, from the closed list of the API ("quarantined", "worker_lost", "unloadable" ...); ``type`` and
    ``message`` are the error's, ``traceback`` is the remote text or "", ``attempts`` counts how often it was started,
    ``output`` is what its last attempt printed.
    """

    code = "task_failed"

    def __init__(
        self,
        kind: str,
        type: str,
        message: str,
        traceback: str = "",
        attempts: int = 0,
        task_id: str = "",
        output: str = "",
    ) -> None:
        super().__init__(kind, type, message, traceback, attempts, task_id, output)
        self.kind = kind
        self.type = type
        self.message = message
        self.traceback = traceback
        self.attempts = attempts
        self.task_id = task_id
        self.output = output

    def __str__(self) -> str:
        what = ": ".join(filter(None, (self.kind, self.type, self.message)))
        return f"{what} (task {self.task_id}, {self.attempts} attempts)"


class TaskCancelled(TaskFailed, CancelledError):
    """The service ended the task because somebody cancelled it.  ``except concurrent.futures.CancelledError`` catches it too."""

    code = "task_cancelled"


class RemoteTraceback(Exception):
    """The traceback of the process that ran the task, as text; it stands as ``__cause__`` of what is raised here."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text.rstrip()}\n"""'
