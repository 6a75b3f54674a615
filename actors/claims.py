"""Values: what a dispatcher asks of claim.lua, and the tasks that it is given."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import cast

import msgspec

from regrow.actors.limits import NO_LIMITS, Limits, Terms
from regrow.actors.records import Argument, Reply, bytes_of, text_of
from regrow.actors.task import Claimed, Digest, TaskId, WorkerId
from regrow.actors.wire import BATCH_TASKS

_decode_terms = msgspec.msgpack.Decoder(Terms).decode
_decode_limits = msgspec.msgpack.Decoder(Limits).decode


class Share(msgspec.Struct, frozen=True):
    """What one worker can take: ``free`` tasks whatever they are, then known ones worth ``ahead_s`` seconds in sum."""

    worker: WorkerId
    free: int
    ahead_s: float


class Claim(msgspec.Struct, frozen=True):
    """Tasks taken, in the order of the queue; ``left`` tasks are still queued.  ``is_refused``: another series was begun since ours."""

    tasks: list[Claimed]
    left: int
    is_refused: bool = False


class Sort(msgspec.Struct, frozen=True):
    """What some tasks of one claim have in common; see ``Claimed``."""

    worker: WorkerId
    digest: Digest
    may_run_again: bool
    limits: Limits | None
    deadline_s: float | None


def claim_arguments(
    dispatcher: str,
    claim_id: str,
    shares: Sequence[Share],
    expected_s: dict[Digest, float],
    max_bytes: int,
    retention_s: float,
) -> list[Argument]:
    """For claim.lua.  Run times go as whole microseconds, at least one."""
    free = sum(share.free for share in shares)
    may_go_ahead = bool(expected_s) and any(share.ahead_s > 0 for share in shares)
    most = BATCH_TASKS if may_go_ahead else min(free, BATCH_TASKS)
    arguments: list[Argument] = [dispatcher, claim_id, most, max_bytes, len(shares)]
    for share in shares:
        arguments += (share.worker, share.free, int(share.ahead_s * 1e6))
    for digest, run_s in expected_s.items():
        arguments += (digest, max(1, int(run_s * 1e6)))
    arguments.append(int(retention_s * 1000))
    return arguments


def claim_of(reply: Reply) -> Claim:
    """From claim.lua: tasks still queued, the sorts of them, then five values per task."""
    number, sorts, *values = reply
    left = int(number)
    if left < 0:
        return Claim([], -1 - left, is_refused=True)
    return Claim(list(_tasks(values, [_sort(*sort) for sort in cast("Sequence[Reply]", sorts)])), left)


def _tasks(values: Reply, sorts: Sequence[Sort]) -> Iterator[Claimed]:
    each = iter(values)
    for task_id, attempt, number, params, checksum in zip(each, each, each, each, each, strict=True):
        sort = sorts[int(number) - 1]
        yield Claimed(
            TaskId(text_of(task_id)),
            int(attempt),
            sort.worker,
            sort.digest,
            bytes_of(params),
            int(checksum) if checksum else None,
            sort.may_run_again,
            sort.limits,
            sort.deadline_s,
        )


def _sort(
    worker: bytes | int,
    digest: bytes | int,
    limit: bytes | int,
    terms: bytes | int,
    limits: bytes | int,
    left: bytes | int,
) -> Sort:
    return Sort(
        WorkerId(text_of(worker)),
        Digest(text_of(digest)),
        may_run_again=limit != b"1",
        limits=_limits(bytes_of(terms), bytes_of(limits)) if terms or limits else None,
        deadline_s=None if left == b"" else int(left) / 1000,
    )


@lru_cache(maxsize=1024)
def _limits(terms: bytes, limits: bytes) -> Limits | None:
    """The task's own limits over those of its function's terms; damaged ones are none."""
    try:
        base = _decode_terms(terms).limits if terms else NO_LIMITS
        own = _decode_limits(limits) if limits else NO_LIMITS
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    found = own.over(base)
    return None if found == NO_LIMITS else found
