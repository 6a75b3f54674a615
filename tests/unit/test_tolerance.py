"""What a probe may find."""

from typing import Any

import pytest

from regrow.chaos.experiment import Tolerance
from regrow.chaos.tolerance import is_tolerable, part


@pytest.mark.parametrize(
    ("kind", "bound", "good", "bad"),
    [
        ("equal", 200, [200, 200.0], [201, "200"]),
        ("any_of", [200, 204], [200, 204], [500]),
        ("range", [0, 500], [0, 250.5, 500], [-1, 500.1, "250"]),
        ("min", 3, [3, 4], [2, "three"]),
        ("max", 3, [3, -1], [4]),
        ("regex", "^ok|fine$", ["ok then", "is fine"], ["broken"]),
    ],
)
def test_each_kind_takes_what_it_says_and_nothing_else(
    kind: Any, bound: object, good: list[object], bad: list[object]
) -> None:
    tolerance = Tolerance(kind, bound)

    assert all(is_tolerable(tolerance, value) for value in good)
    assert not any(is_tolerable(tolerance, value) for value in bad)


@pytest.mark.parametrize("kind", ["equal", "any_of", "range", "min", "max", "regex"])
def test_no_answer_is_never_tolerable(kind: Any) -> None:
    bound = {"any_of": [None], "range": [0, 1], "regex": "None"}.get(kind)

    assert not is_tolerable(Tolerance(kind, bound), None)


def test_the_part_that_is_meant_is_looked_at_and_the_first_by_default() -> None:
    answer = {"status": 200, "latency_ms": 3.0}

    assert part(Tolerance("equal"), answer) == 200
    assert part(Tolerance("max", 5, "latency_ms"), answer) == 3.0
    assert part(Tolerance("max", 5, "body"), answer) is None
    assert part(Tolerance("equal"), {}) is None
