"""Values: what was asked for, in the terms of the service: limits, retry policies and options from their schemas."""

from typing import Final, NamedTuple

import msgspec

from regrow.actors.limits import NO_LIMITS, NO_OPTIONS, NO_TERMS, Limits, Options, Retry, Terms
from regrow.gateway import schemas

OPTIONAL: Final = ("limits", "delay_s", "expires_s", "deadline_s")
FUTILE_RETRY: Final = (
    "retry has no effect with max_attempts 1: such a task is never started twice; leave one of the two out, or give the tasks that "
    "may be tried again a max_attempts of their own"
)


class Wishes(NamedTuple):
    """What a function's owner has said about it. ``max_attempts``: None for the usual number."""

    max_attempts: int | None = None
    terms: Terms = NO_TERMS
    ttl_s: float | None = None

    def warnings(self, caps: Limits) -> tuple[str, ...]:
        """What of it will not be as it was said, in a service with these ``caps``."""
        is_futile = self.max_attempts == 1 and self.terms.retry is not None and self.terms.retry.count > 0
        return above(self.terms.limits, caps) + ((FUTILE_RETRY,) if is_futile else ())


def limits_of(asked: schemas.Limits | None) -> Limits:
    """Limits, as far as any are given."""
    return NO_LIMITS if asked is None else msgspec.convert(asked.model_dump(exclude_none=True), Limits)


def wishes_of(asked: schemas.RegisterFunction) -> Wishes:
    """What was said at a registration; the official call has no words for it."""
    if not isinstance(asked, schemas.NewFunction):
        return Wishes()
    return Wishes(asked.max_attempts, _terms_of(asked), asked.ttl_s)


def _terms_of(asked: schemas.NewFunction) -> Terms:
    if asked.limits is None and asked.retry is None:
        return NO_TERMS
    retry = None if asked.retry is None else msgspec.convert(asked.retry.model_dump(), Retry)
    return Terms(limits_of(asked.limits), retry)


def options_of(asked: schemas.NewTask) -> Options:
    """What a task was submitted with; NO_OPTIONS itself where that is nothing."""
    if asked.model_fields_set.isdisjoint(OPTIONAL):
        return NO_OPTIONS
    limits = limits_of(asked.limits)
    options = Options(None if limits == NO_LIMITS else limits, asked.delay_s or None, asked.expires_s, asked.deadline_s)
    return NO_OPTIONS if options == NO_OPTIONS else options


def above(limits: Limits, caps: Limits) -> tuple[str, ...]:
    """A warning for each limit above what this service allows."""
    return tuple(
        f"limits.{name} is {asked:g}; this service allows {cap:g}, and holds tasks to that (--max-{name.replace('_', '-')})"
        for name in Limits.__struct_fields__
        if (asked := getattr(limits, name)) is not None and (cap := getattr(caps, name)) is not None and asked > cap
    )
