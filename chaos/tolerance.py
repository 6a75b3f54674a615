"""Core: whether what a probe found is tolerable."""

import re
from collections.abc import Mapping
from typing import Any

from regrow.chaos.experiment import Tolerance

Answer = Mapping[str, Any]  # the parts of what a probe found, by name; the first is its ordinary one


def part(tolerance: Tolerance, answer: Answer) -> Any:
    """The part that is looked at; None: it is not there."""
    return answer.get(tolerance.target or next(iter(answer), ""))


def is_tolerable(tolerance: Tolerance, value: Any) -> bool:
    """No answer (None) never is, and neither is one that cannot be compared."""
    if value is None:
        return False
    try:
        return _holds(tolerance, value)
    except (TypeError, ValueError):
        return False


def _holds(tolerance: Tolerance, value: Any) -> bool:
    bound = tolerance.value
    match tolerance.kind:
        case "equal":
            return bool(value == bound)
        case "any_of":
            return value in bound
        case "range":
            least, most = bound
            return bool(least <= value <= most)
        case "min":
            return bool(value >= bound)
        case "max":
            return bool(value <= bound)
        case "regex":
            return re.search(str(bound), str(value)) is not None
