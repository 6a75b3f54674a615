"""Shell: the tasks of ``work`` as pickles that run on any tree, also one that has another version of this package or none."""

import functools
import runpy
from typing import Any

from regrow.chaos import work
from regrow.gateway import by_value


def portable(kind: str) -> bytes:
    """The function of that kind, by value."""
    return by_value.dumps(_apart()[kind])


@functools.cache
def _apart() -> dict[str, Any]:
    """The functions as those of a module that nobody can import: what belongs to none of the installed ones travels whole."""
    found: dict[str, Any] = runpy.run_path(work.__file__, run_name="chaos_work")["FUNCTIONS"]
    return found
