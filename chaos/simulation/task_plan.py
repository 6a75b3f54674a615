"""Values: what the tasks of a simulation do, and what is known of each."""

from enum import StrEnum

import msgspec

from regrow.actors.task import Move, WorkerId


class Kind(StrEnum):
    """What a task does."""

    NOOP = "noop"
    SHORT = "short"  # milliseconds
    MEDIUM = "medium"  # up to two seconds
    LONG = "long"  # longer than a heartbeat's window
    SLOW = "slow"  # a minute or so
    RAISES = "raises"
    RETRIED = "retried"  # raises at its first tries, under a policy that has it tried again
    POISON = "poison"  # its slot dies each time
    FLAKY = "flaky"  # its slot dies the first time
    HANGS = "hangs"  # until its limit
    ONCE = "once"  # must not be started twice
    DELAYED = "delayed"
    EXPIRES = "expires"  # unless it is started soon
    DEADLINE = "deadline"


class Run(msgspec.Struct, eq=False):
    """One start of a task in a slot."""

    attempt: int
    worker: WorkerId
    place: str
    started_at: float
    owner: str  # of the lease when it started
    is_over: bool = False


class Life(msgspec.Struct, eq=False):
    """All that is known of one task, from outside of the product."""

    number: int
    kind: Kind
    runs_s: float
    limit: int
    is_acknowledged: bool = False
    is_cancelled: bool = False  # the store has said so
    is_exempt: bool = False  # a message about it was doubled or overtaken: it may start once too often
    attempt: int = 0  # of the newest claim
    worker: WorkerId = WorkerId("")
    place: str = ""
    claimed_at: float = 0.0
    owner: str = ""
    is_leased: bool = False
    is_inherited: bool = False
    tries: int = 0  # that its function has begun and that were counted by itself
    end: Move | None = None
    kind_of_end: str = ""
    value: bytes | None = None
    starts: dict[int, int] = {}  # by attempt
    values: set[int] = set()  # attempts that returned
    given_back: set[int] = set()  # attempts that never started, by the dispatcher's word
    active: list[Run] = []
    requeued: int = 0  # lost, crashed, retried
