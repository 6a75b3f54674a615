"""Values: what was asked for, in the terms of the service: limits, retry policies and options from their schemas."""

from typing import Final

import msgspec

from regrow.actors.limits import NO_LIMITS, NO_OPTIONS, NO_TERMS, Limits, Options, Retry, Terms
from regrow.gateway import schemas

OPTIONAL: Final = ("limits", "delay_s", "expires_s", "deadline_s")


def limits_of(asked: schemas.Limits | None) -> Limits:
    """Limits, as far as any are given."""
    return NO_LIMITS if asked is None else msgspec.convert(asked.model_dump(exclude_none=True), Limits)


def terms_of(asked: schemas.NewFunction) -> Terms:
    """What a function's owner has said about its tasks."""
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
