"""Values, exceptions and broken payloads: how one call ends, without a process."""

import math
from typing import Any

import cloudpickle
import dill
import pytest

from regrow.actors import execution
from regrow.actors.packets import Ended
from regrow.actors.task import Failure, FailureKind
from support import functions
from support.functions import by_value, call

LIMIT = 1 << 20


def run(function: Any, *args: Any, **kwargs: Any) -> Ended:
    return execution.run(by_value(function), call(*args, **kwargs), LIMIT)


def failure_of(ended: Ended) -> Failure:
    assert ended.value is None
    assert ended.failure is not None
    return ended.failure


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        7,
        1.5,
        "text",
        b"bytes",
        (1, "two"),
        [1, [2, {3}]],
        {"a": {"b": (None,)}},
        math.inf,
        1 << 200,
        3 + 4j,
    ],
)
def test_values_come_back_equal(value: Any) -> None:
    ended = run(functions.echo, value)

    assert dill.loads(ended.value) == value


def test_plain_data_needs_neither_dill_nor_a_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "_in_dialect", lambda *_: pytest.fail("the plain pickler did not do it"))

    assert execution.dumps([{"a": (1, 2.0, None)}, {b"b"}], is_cloudpickle=False)


def test_values_of_other_types_travel_in_the_dialect_of_the_payload() -> None:
    by_dill = run(functions.make_set)
    by_cloudpickle = execution.run(cloudpickle.dumps(lambda: lambda: 5), call(), LIMIT)

    assert [str(item) for item in dill.loads(by_dill.value)] == ["1/3"]
    assert b"cloudpickle" in by_cloudpickle.value
    assert dill.loads(by_cloudpickle.value)() == 5


def test_what_cloudpickle_cannot_do_dill_is_asked_for() -> None:
    import threading

    code = cloudpickle.dumps(lambda: __import__("threading").Lock())

    ended = execution.run(code, call(), LIMIT)

    assert isinstance(dill.loads(ended.value), type(threading.Lock()))


def test_an_exception_travels_with_type_message_traceback_and_itself() -> None:
    failure = failure_of(run(functions.divide, 1, by=0))

    assert (failure.kind, failure.type, failure.message) == (
        FailureKind.RAISED,
        "ZeroDivisionError",
        "division by zero",
    )
    assert failure.traceback.startswith("Traceback")
    assert "in divide" in failure.traceback
    assert "execution.py" not in failure.traceback
    assert failure.exception is not None
    assert isinstance(dill.loads(failure.exception), ZeroDivisionError)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (functions.exit_politely, "SystemExit"),
        (functions.interrupt, "KeyboardInterrupt"),
        (functions.recurse, "RecursionError"),
    ],
)
def test_whatever_user_code_raises_is_its_own_exception(function: Any, name: str) -> None:
    failure = failure_of(run(function))

    assert (failure.kind, failure.type) == (FailureKind.RAISED, name)


def test_an_exception_that_does_not_load_again_is_still_told() -> None:
    failure = failure_of(run(functions.raise_two_argument))

    assert failure.kind is FailureKind.RAISED
    assert failure.type.endswith("TwoArgument")
    assert failure.message == "1 and 2"
    assert failure.exception is None


def test_an_exception_without_text_is_still_told() -> None:
    failure = failure_of(run(functions.raise_unsayable))

    assert failure.type.endswith("Unsayable")
    assert "ValueError" in failure.message


def test_text_that_is_no_unicode_still_travels() -> None:
    from regrow.actors import packets

    ended = run(functions.raise_surrogate)

    assert packets.decode_from_slot(packets.encode(ended)) == ended


def test_values_that_cannot_travel_are_named() -> None:
    for function, name in ((functions.make_generator, "generator"), (functions.make_unloadable, "Trap")):
        failure = failure_of(run(function))

        assert failure.kind is FailureKind.UNPICKLABLE
        assert name in failure.message


def test_a_nest_too_deep_to_pickle_is_no_crash() -> None:
    def nest() -> Any:
        inner: list[Any] = []
        for _ in range(100_000):
            inner = [inner]
        return inner

    assert failure_of(run(nest)).kind is FailureKind.UNPICKLABLE


def test_a_missing_module_is_named_with_both_remedies() -> None:
    by_reference = b"\x80\x04\x8c\x0ano_such_mo\x8c\x05thing\x93."

    failure = failure_of(execution.run(by_reference, call(), LIMIT))

    assert failure.kind is FailureKind.UNLOADABLE
    assert "'no_such_mo'" in failure.message
    assert "--import-path" in failure.message
    assert "by value" in failure.message


def test_a_module_that_is_missing_when_the_function_runs_is_its_own_exception() -> None:
    failure = failure_of(run(functions.use_missing_module))

    assert (failure.kind, failure.type) == (FailureKind.RAISED, "ModuleNotFoundError")


@pytest.mark.parametrize("code", [b"", b"junk", dill.dumps(print)[:-3]])
def test_a_function_that_does_not_load_is_unloadable(code: bytes) -> None:
    assert failure_of(execution.run(code, call(), LIMIT)).kind is FailureKind.UNLOADABLE


def test_what_is_no_callable_is_unloadable() -> None:
    failure = failure_of(execution.run(dill.dumps([1]), call(), LIMIT))

    assert failure.kind is FailureKind.UNLOADABLE
    assert "list" in failure.message


@pytest.mark.parametrize(
    "params", [b"junk", dill.dumps(5), dill.dumps(((), {}, 1)), dill.dumps(((), {1: 2})), dill.dumps(({}, ()))]
)
def test_parameters_of_another_shape_are_unloadable(params: bytes) -> None:
    failure = failure_of(execution.run(by_value(functions.nothing), params, LIMIT))

    assert failure.kind is FailureKind.UNLOADABLE


def test_every_call_loads_its_function_anew() -> None:
    def count() -> int:
        global counter
        counter = globals().get("counter", 0) + 1
        return counter

    code = by_value(count)

    assert [dill.loads(execution.run(code, call(), LIMIT).value) for _ in range(2)] == [1, 1]


def test_a_long_message_keeps_its_end() -> None:
    text = execution.clip("a" * 200_000 + "the end")

    assert len(text) < 70_000
    assert text.endswith("the end")
