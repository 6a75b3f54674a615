"""An ended task becomes a value or an exception."""

import pickle
import traceback

import pytest

from regrow.actors.task import State
from regrow.gateway import by_value
from regrow.gateway.answers import AttemptView, ErrorView, TaskView
from regrow.gateway.client_errors import Refused, RemoteTraceback, TaskFailed, ValueUnloadable
from regrow.gateway.outcomes import failure, value_of

ATTEMPTS = [AttemptView(1, "worker-0@h/1"), AttemptView(2, "worker-1@h/1")]


class Picky(Exception):
    """Pickles, and does not unpickle."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} {two}")


def failed(exception: BaseException | None, kind: str = "raised") -> TaskView:
    data = None if exception is None else by_value.dumps(exception)
    error = ErrorView(kind, "SomeError", "it broke", "Traceback: line 1\n", data)
    return TaskView("id-1", State.FAILED, attempts=ATTEMPTS, error=error)


def test_the_value_of_a_completed_task() -> None:
    assert value_of(TaskView("id-1", State.COMPLETED, result=pickle.dumps([1, 2]))) == [1, 2]


def test_a_value_that_does_not_load_here_is_said_to_be_just_that() -> None:
    broken = TaskView("id-1", State.COMPLETED, result=b"cno_such_module\nthing\n.")

    with pytest.raises(ValueUnloadable, match="id-1 completed, but its value does not load here: ModuleNotFoundError"):
        value_of(broken)


def test_the_functions_own_exception_is_raised_with_the_remote_traceback() -> None:
    with pytest.raises(ZeroDivisionError, match="division by zero") as caught:
        value_of(failed(ZeroDivisionError("division by zero")))

    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert caught.value.__notes__ == ["regrow task id-1, attempt 2 on worker-1@h/1"]
    shown = "".join(traceback.format_exception(caught.value))
    assert "Traceback: line 1" in shown
    assert "direct cause" in shown


@pytest.mark.parametrize("exception", [None, Picky(1, 2), SystemExit(3), KeyboardInterrupt()])
def test_a_failure_without_an_exception_fit_to_be_raised_is_a_task_failed(exception: BaseException | None) -> None:
    error = failure(failed(exception))

    assert isinstance(error, TaskFailed)
    assert (error.kind, error.type, error.message, error.attempts) == ("raised", "SomeError", "it broke", 2)
    assert str(error) == "raised: SomeError: it broke (task id-1, 2 attempts)"
    assert isinstance(error.__cause__, RemoteTraceback)


@pytest.mark.parametrize(
    "error", [TaskFailed("oom", "MemoryError", "no"), Refused(404, "unknown_task", "no"), RemoteTraceback("text")]
)
def test_the_clients_errors_survive_pickling(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))

    assert str(again) == str(error)
    assert vars(again) == vars(error)
