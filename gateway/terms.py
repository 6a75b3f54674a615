"""Values: what a program can say about its functions and about single tasks, as the Python client takes it."""

from collections.abc import Iterable
from typing import Final, TypedDict

import msgspec

from regrow.actors import limits as service
from regrow.actors.limits import Limits
from regrow.gateway.answers import TaskRequest

Exceptions = type[BaseException] | str | Iterable[type[BaseException] | str]


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """When a task whose function raised is tried again.  Other ends (its slot died, its worker was lost) have budgets of their own.

    At most ``count`` times; the delay before the nth is ``backoff_s * factor ** (n - 1)`` seconds, at most
    ``max_backoff_s``, times a random factor within ``1 +/- jitter``.  ``retry_on`` and ``dont_retry`` take exception classes, or
    their names; subclasses count.  Without ``retry_on`` it is any exception; ``dont_retry`` wins.  A task with
    ``max_attempts=1`` is never tried again.
    """

    count: int
    backoff_s: float = 1.0
    factor: float = 2.0
    max_backoff_s: float = 300.0
    jitter: float = 0.2
    retry_on: Exceptions = ()
    dont_retry: Exceptions = ()


class FunctionTerms(TypedDict, total=False):
    """What can be said about all tasks of a function.  ``ttl_s``: seconds without a call after which the service deletes it."""

    limits: Limits | None
    retry: Retry | None
    max_attempts: int | None
    ttl_s: float | None


class TaskOptions(TypedDict, total=False):
    """What can be said about a single task.  Seconds count from its submission.

    ``limits``: over those of its function, one by one.  ``delay_s``: it does not start before.  ``expires_s``: it does not
    start for the first time after.  ``deadline_s``: it has ended by then.  ``max_attempts``: instead of its function's; 1:
    it is never started twice.  ``idempotency_key``: the same key is the same task; of a ``map``, item n's key is ``KEY/n``.
    """

    limits: Limits | None
    delay_s: float | None
    expires_s: float | None
    deadline_s: float | None
    max_attempts: int | None
    idempotency_key: str | None


FUTILE_RETRY: Final = (
    "retry has no effect with max_attempts=1: such a task is never started twice; leave one of the two out, or give the tasks that "
    "may be tried again a max_attempts of their own, as an option"
)
PLAIN: Final = TaskRequest("", b"", "")  # no options


def template(options: TaskOptions, number: int | None = None) -> TaskRequest:
    """The request of a task with these options, still without its call; ``number``: of a map's item.  Raises TypeError."""
    unknown = options.keys() - TaskOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"no such option of a task: {', '.join(sorted(unknown))}")
    if not options:
        return PLAIN
    said = {name: value for name, value in options.items() if name != "idempotency_key"}
    key = options.get("idempotency_key") or ""
    if key and number is not None:
        key = f"{key}/{number}"
    return TaskRequest("", b"", key, **said)  # type: ignore[arg-type]  # each of the type that TaskOptions gives it


def is_futile(terms: FunctionTerms) -> bool:
    """Whether its policy for retries can never come to act: what may be started once only is not tried again."""
    retry = terms.get("retry")
    return retry is not None and retry.count > 0 and terms.get("max_attempts") == 1


def with_names(retry: Retry | None) -> service.Retry | None:
    """The same policy in words that travel.  Raises TypeError for what is no exception class."""
    if retry is None:
        return None
    fields = msgspec.structs.asdict(retry)
    fields["retry_on"] = _names(retry.retry_on)
    fields["dont_retry"] = _names(retry.dont_retry)
    return service.Retry(**fields)


def _names(exceptions: Exceptions) -> tuple[str, ...]:
    """Each as a slot tells it: with its module, unless that is the language itself or the program's script."""
    given = [exceptions] if isinstance(exceptions, (str, type)) else list(exceptions)
    return tuple(map(_name, given))


def _name(exception: type[BaseException] | str) -> str:
    if isinstance(exception, str):
        return exception
    if not (isinstance(exception, type) and issubclass(exception, BaseException)):
        raise TypeError(f"a retry policy names exception classes, and {exception!r} is none")
    name = f"{exception.__module__}.{exception.__qualname__}"
    return name.removeprefix("builtins.").removeprefix("__main__.")
