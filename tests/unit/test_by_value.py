"""A user's own code reaches a process that does not have it, and what comes back is at home here again."""

import functools
import importlib
import json
import math
import pickle
import struct
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import dill
import pytest

from regrow.gateway import by_value
from regrow.gateway.client_errors import NotPicklable
from support.library import shapes, tools

LONE_SLOT = Path(__file__).parents[1] / "support" / "lone_slot.py"


def elsewhere(function: Any, *args: object, **kwargs: object) -> Any:
    """What ``function`` returns or raises in a process that can import neither this test nor the tests' modules."""
    frames = (by_value.dumps(function), by_value.dumps_call(args, kwargs))
    stdin = b"".join(struct.pack("!Q", len(frame)) + frame for frame in frames)
    done = subprocess.run(
        [sys.executable, "-I", LONE_SLOT], input=stdin, stdout=subprocess.PIPE, check=True, timeout=60
    )
    how, what = by_value.loads(done.stdout)
    if how == "raised":
        raise what
    return what


@pytest.mark.parametrize(
    ("function", "args", "value"),
    [
        (shapes.double, (4,), 8),
        (shapes.scaled, (4,), 24),
        (shapes.shouted, ("hey",), "HEY!"),
        (shapes.shouted_directly, ("hey",), "HEY!"),
        (shapes.asked, ("hey",), "hey?!"),
        (shapes.asked_first, ("hey",), "!hey?"),
        (shapes.fibonacci, (30,), 832040),
        (functools.partial(shapes.scaled, 2), (), 12),
        (shapes.Point(1, 2).doubled, (), shapes.Point(2, 4)),
        (shapes.moved, (shapes.Point(1, 2),), shapes.Point(4, 6)),
        (shapes.other, (shapes.Colour.RED,), shapes.Colour.BLUE),
        (lambda x: math.sqrt(shapes.double(x)), (8,), 4.0),
        (math.sqrt, (16,), 4.0),
        (len, ("four",), 4),
    ],
)
def test_a_function_runs_where_its_modules_are_not(function: Any, args: tuple[object, ...], value: object) -> None:
    assert elsewhere(function, *args) == value


def test_keyword_parameters_and_user_classes_travel_with_a_call() -> None:
    assert elsewhere(shapes.moved, point=shapes.Point(0, 0)) == shapes.Point(2, 2)


def test_a_class_with_a_type_variable_and_a_cached_property_travels() -> None:
    box = elsewhere(shapes.boxed, 7)

    assert type(box) is shapes.Box
    assert box.content == 7
    assert elsewhere(shapes.length, shapes.Path(shapes.Point(1, 2), shapes.Point(3, -4))) == 10


def test_an_error_class_of_the_user_is_the_same_class_when_it_comes_back() -> None:
    with pytest.raises(shapes.TooLargeError) as caught:
        elsewhere(shapes.refuse, 9)

    assert (caught.value.size, caught.value.limit) == (9, 3)


def test_a_class_that_comes_back_keeps_what_it_was_given_here_meanwhile() -> None:
    shapes.Point.seen = 0
    data = by_value.dumps(shapes.Point(1, 2))
    method = shapes.Point.doubled

    shapes.Point.seen = 5
    by_value.loads(data)

    assert shapes.Point.seen == 5
    assert shapes.Point.doubled is method
    shapes.Point.seen = 0


def test_a_module_leaves_behind_what_no_travelling_code_names() -> None:
    names = {"shouted"}
    function = pickle.loads(by_value.dumps(lambda: shapes.shouted("x")))
    travelled = function.__globals__["shapes"]

    assert travelled is not shapes
    assert names <= set(vars(travelled))
    assert not {"LOCK", "Point", "fibonacci"} & set(vars(travelled))


def test_what_cannot_be_pickled_is_refused_with_its_name() -> None:
    with pytest.raises(NotPicklable, match=r"function guarded cannot be sent: TypeError: cannot pickle '_thread.lock'"):
        by_value.dumps(shapes.guarded)


@pytest.mark.parametrize(
    "name", ["json", "math", "sys", "pytest", "msgspec", "cloudpickle", "regrow.gateway.by_value", "regrow", "os.path"]
)
def test_installed_code_is_named_not_carried(name: str) -> None:
    module = importlib.import_module(name)

    assert not by_value.is_users_own(module)
    for value in (json.dumps, json.JSONEncoder, cloudpickle.Pickler, by_value.dumps):
        assert len(by_value.dumps(value)) < 100


def test_modules_of_the_user_and_those_made_at_run_time_are_carried() -> None:
    assert by_value.is_users_own(shapes)
    assert by_value.is_users_own(tools)
    assert by_value.is_users_own(sys.modules["__main__"])
    assert by_value.is_users_own(ModuleType("made_here"))


def test_cloudpickle_itself_is_left_as_it_was() -> None:
    by_value.dumps(shapes.scaled)

    assert cloudpickle.list_registry_pickle_by_value() == set()
    assert len(cloudpickle.dumps(shapes.double)) < 100


def test_many_threads_may_pickle_at_once() -> None:
    sizes: list[int] = []

    def work() -> None:
        sizes.extend(len(by_value.dumps(shapes.scaled)) for _ in range(30))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(sizes) == 180
    assert min(sizes) > 300


@pytest.mark.parametrize("args", [(), (1, 2.5, "x", b"y", None, True), ([1, {"a": {2}}],), (shapes.Point(1, 2),)])
def test_parameters_arrive_as_a_tuple_and_a_dict(args: tuple[object, ...]) -> None:
    assert by_value.loads(by_value.dumps_call(args, {"k": 1})) == (args, {"k": 1})


def test_what_dill_made_loads_too() -> None:
    made = dill.dumps(lambda x: x + 1, recurse=True)

    assert by_value.loads(made)(1) == 2
    assert by_value.loads(dill.dumps({"a": [1, 2]})) == {"a": [1, 2]}


SCRIPT = """
    import struct, subprocess, sys
    from regrow.gateway import by_value

    LIMIT = 3

    class MyError(Exception):
        def __init__(self, n):
            super().__init__(n)
            self.n = n

    class Config:
        size = 2

    def helper(n):
        if n > LIMIT:
            raise MyError(n * Config.size)
        return n

    def entry(n):
        return helper(n) + 1

    frames = (by_value.dumps(entry), by_value.dumps_call((5,), {}))
    stdin = b"".join(struct.pack("!Q", len(frame)) + frame for frame in frames)
    done = subprocess.run([sys.executable, "-I", sys.argv[1]], input=stdin, stdout=subprocess.PIPE, check=True)
    Config.size = 7
    how, what = by_value.loads(done.stdout)
    try:
        raise what
    except MyError as error:
        print("caught", error.n, Config.size)
"""


def test_a_script_catches_its_own_error_class(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))

    done = subprocess.run([sys.executable, script, LONE_SLOT], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "caught 10 7\n"
