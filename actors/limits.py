"""Values: what one attempt of a task may use, and how often a task that raised is tried again.

A function has terms, a task may set limits of its own over its function's, and the settings cap both.
"""

from collections.abc import Callable
from typing import Final

import msgspec

Amount = float | None


class Limits(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What one attempt may use; ``None``: as much as there is.

    Time, memory, CPU and processes count with all that the task starts, whatever sessions or groups it makes.
    ``output_bytes`` bounds the pickled value, and by itself what is printed.
    """

    wall_s: float | None = None
    cpu_s: float | None = None
    memory_bytes: int | None = None  # of data: heap, anonymous and private writable memory
    output_bytes: int | None = None
    open_files: int | None = None  # descriptors above those that the slot itself has open
    file_bytes: int | None = None  # of any one file that it writes
    processes: int | None = None  # alive at once, below the slot

    def over(self, base: "Limits | None") -> "Limits":
        """These, and ``base`` where these say nothing."""
        if base is None:
            return self
        return _combined(self, base, lambda mine, other: other if mine is None else mine)

    def capped(self, caps: "Limits") -> "Limits":
        """These, and nothing above ``caps``; a cap holds also where these say nothing."""
        return _combined(self, caps, lambda mine, cap: cap if mine is None else mine if cap is None else min(mine, cap))


NO_LIMITS: Final = Limits()


def _combined(first: Limits, second: Limits, choose: Callable[[Amount, Amount], Amount]) -> Limits:
    amounts = {name: choose(getattr(first, name), getattr(second, name)) for name in Limits.__struct_fields__}
    return Limits(**amounts)  # type: ignore[arg-type]  # each amount is of the type that its two sources have


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a task whose function raised is tried again. Other ends (a crash, a lost worker) have budgets of their own.

    The delay before retry n is ``backoff_s * factor ** (n - 1)``, at most ``max_backoff_s``, times a random factor within
    ``1 +/- jitter``. ``retry_on`` and ``dont_retry`` name exception classes, with their module or without; a class stands for
    its subclasses too. Nothing in ``retry_on``: any exception. ``dont_retry`` wins.
    """

    count: int = 0
    backoff_s: float = 1.0
    factor: float = 2.0
    max_backoff_s: float = 300.0
    jitter: float = 0.2
    retry_on: tuple[str, ...] = ()
    dont_retry: tuple[str, ...] = ()


class Terms(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a function's owner has said about its tasks, besides ``max_attempts``."""

    limits: Limits = NO_LIMITS
    retry: Retry | None = None


NO_TERMS: Final = Terms()


class Options(msgspec.Struct, frozen=True):
    """What a single task may be submitted with, besides ``max_attempts``. Seconds from its submission.

    ``delay_s``: not to be started before. ``expires_s``: not to be started for the first time after. ``deadline_s``: to have
    ended by then, whatever its state.
    """

    limits: Limits | None = None
    delay_s: float | None = None
    expires_s: float | None = None
    deadline_s: float | None = None


NO_OPTIONS: Final = Options()
