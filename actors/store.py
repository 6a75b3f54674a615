"""Shell: the store as the dispatcher sees it: one atomic script per move, over a blocking connection.

``keys.py`` draws what is kept, ``lua/*.lua`` the moves, ``records.py`` what goes in and comes out; ``astore.py`` is the
gateway's asynchronous side of the same.

- A call happens once or raises: the Redis client's own retries are off, because they would run a script twice whose reply was cut.
- Any call may be repeated after StoreUnavailable, with the same arguments: the second answer is the first one's.
- One Store belongs to one thread, and a dispatcher has one claim in flight at a time.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any, Final, Self, TypeVar, cast

import redis
from redis.exceptions import NoScriptError

from regrow.actors import claims, happenings, keys, records, suspects
from regrow.actors.claims import Claim, Share
from regrow.actors.connection import TIMEOUT_S, options, translated
from regrow.actors.facts import CHECKED_SETTINGS, StoreFacts, facts_of
from regrow.actors.records import Argument, DispatcherRecord, Held, Pulse, Reply
from regrow.actors.scripts import BEAT, CLAIM, DUE, FENCE, INHERIT, MEND, RECORD, SCAN, SETTLE, Script
from regrow.actors.suspects import Close, Mended, Page, Suspects
from regrow.actors.task import RETENTION_S, Digest, Drop, Move, Settlement, TaskId, Verdict, WorkerRecord
from regrow.actors.wakes import Wakes
from regrow.actors.wire import BATCH_TASKS
from regrow.runtime.crashpoint import guarded
from regrow.runtime.errors import ConfigError

TASK: Final = keys.task(TaskId("")).encode()
T = TypeVar("T")


class Store:
    """The dispatcher's half of the store.  Every call may raise StoreUnavailable (repeat it) and StoreError."""

    def __init__(self, url: str, client: redis.Redis, retention_s: float) -> None:
        self._url = url
        self._client = client
        self._retention_s = retention_s
        self._series = ""
        self._trip = guarded(round_trip, lambda name, _: name)

    @classmethod
    def connect(cls, url: str, retention_s: float = RETENTION_S, timeout_s: float = TIMEOUT_S) -> Self:
        """A store at ``redis://``, ``rediss://`` or ``unix://``; nothing is sent yet.  Raises ConfigError for another URL."""
        try:
            return cls(url, redis.Redis.from_url(url, **options(timeout_s)), retention_s)
        except ValueError as error:
            raise ConfigError(f"--redis-url: {error}") from None

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def ping(self) -> None:
        """Return if the server answers and has read its files."""
        self._values("ping", [("PING",)])

    def check(self) -> StoreFacts:
        """What is at the other end.  Raises ConfigError, with the fix, for a server that could lose tasks."""

        def talk() -> StoreFacts:
            with self._client.pipeline(transaction=False) as pipe:
                for name in CHECKED_SETTINGS:
                    pipe.config_get(name)
                return facts_of(self._client.info(), pipe.execute(raise_on_error=False))

        return self._trip("check", talk)

    def begin(self, dispatcher: str, series: str) -> None:
        """From here on this dispatcher's claims are of this series, and those of a former incarnation that arrive late take nothing.

        Read the leases after it.
        """
        self._series = series
        self._run(FENCE, (keys.series(dispatcher),), [series, records.SERIES_MS])

    def claim(
        self, dispatcher: str, claim_id: str, shares: list[Share], expected_s: dict[Digest, float], max_bytes: int
    ) -> Claim:
        """Take tasks from the queue for these workers, at most BATCH_TASKS and ``max_bytes`` of parameters, but one in any case."""
        names = (keys.QUEUE, keys.leases(dispatcher), keys.claim(dispatcher), keys.BEATS, keys.COUNTERS)
        arguments = claims.claim_arguments(dispatcher, claim_id, shares, expected_s, max_bytes, self._retention_s)
        return claims.claim_of(self._run(CLAIM, names, arguments))

    def settle(self, dispatcher: str, settlements: list[Settlement]) -> list[Verdict]:
        """Write how attempts ended; verdicts in their order.  What is queued again stands at the front in that order too."""
        verdicts: list[Verdict] = []
        for batch in reversed(list(records.batches(settlements, records.settlement_bytes))):
            arguments = records.settle_arguments(dispatcher, batch, self._retention_s, random.random())
            reply = self._run(SETTLE, (keys.QUEUE, keys.leases(dispatcher), keys.COUNTERS), arguments)
            verdicts = [records.SETTLE_VERDICTS[int(number)] for number in reply] + verdicts
        return verdicts

    def code(self, digests: list[Digest]) -> dict[Digest, bytes | None]:
        """Function bytes by digest; ``None`` for those that are not there."""
        found = self._values("code", [("GET", keys.code(digest)) for digest in digests])
        return dict(zip(digests, found, strict=True))

    def leases(self, dispatcher: str) -> list[Held]:
        """What the dispatcher has under lease; a lease whose record has vanished has no worker and no digest."""
        return [held for held, _ in self._leases(dispatcher)]

    def beat(self, dispatcher: DispatcherRecord, workers: list[WorkerRecord]) -> Pulse:
        """Show life, and the workers that are registered here; learn how many tasks wait and who has fallen silent."""
        name = dispatcher.dispatcher
        reply = self._run(
            BEAT,
            (keys.BEATS, keys.DISPATCHERS, keys.workers(name), keys.QUEUE, keys.COUNTERS),
            [
                name,
                records.encode_dispatcher(dispatcher),
                records.encode_workers(workers),
                records.SILENT_MS,
                records.FORGET_MS,
                suspects.TURN_MS,
            ],
        )
        return records.pulse_of(reply)

    def promote(self) -> tuple[int, float | None]:
        """Queue what has waited for its time, and end what is overdue: how many were queued, and seconds until the next time."""
        reply = self._run(DUE, (keys.QUEUE, keys.COUNTERS), [int(self._retention_s * 1000), BATCH_TASKS])
        moved, next_s, gone = records.due_of(reply)
        if gone:
            names = [keys.function(function_id) for function_id in gone]
            self._values("forget", [("DEL", *names), ("SREM", keys.GONE, *gone)])
        return moved, next_s

    def drops(self, dispatcher: str) -> list[Drop]:
        """What was cancelled while this dispatcher had it, since this was last asked.

        Only what was read is taken away, by its name: a call that is carried out late takes nothing that nobody has seen.
        """
        name = keys.drops(dispatcher)
        (lines,) = self._values("drops", [("SMEMBERS", name)])
        if lines:
            self._values("dropped", [("SREM", name, *lines)])
        return records.drops_of(lines)

    def inherit(self, dispatcher: str, from_dispatcher: str) -> list[Held]:
        """Take over the leases of a dispatcher that has been silent for 3 s; nothing if it has not.

        Settle them with GIVE_BACK where it is known that they never started, else with LOSE_WORKER, which does not count here.
        """
        taken: list[Held] = []
        names = (keys.BEATS, keys.leases(from_dispatcher), keys.leases(dispatcher))
        left = 1
        while left:
            asked: list[Argument] = [from_dispatcher, dispatcher, records.SILENT_MS, BATCH_TASKS, self._series]
            reply = self._run(INHERIT, names, asked)
            taken += records.held_of(reply[1:])
            left = int(reply[0])
        return taken

    def scan(self, cursor: str) -> Page:
        """Look through some tasks for suspects: those that have not ended, and may be in no queue and under no lease."""
        return suspects.page_of(self._run(SCAN, (keys.SCHEDULED, keys.BEATS), [cursor, suspects.PAGE_KEYS]))

    def walk(self, position: int) -> list[TaskId]:
        """A piece of the queue, from its end towards its front; ``position``: so many of its ids were read before."""
        last, first = -(position + 1), -(position + suspects.WALK_IDS)
        (ids,) = self._values("walk", [("LRANGE", keys.QUEUE, str(first), str(last))])
        return [TaskId(task_id.decode(errors="replace")) for task_id in ids]

    def mend(self, dispatcher: str, suspected: Suspects, close: Close | None) -> Mended:
        """Put these back where somebody looks, unless they have moved since they were scanned, before the walk."""
        names = (keys.QUEUE, keys.COUNTERS, keys.BEATS)
        arguments = suspects.mend_arguments(dispatcher, self._retention_s, records.SILENT_MS, suspected, close)
        return Mended(*(int(number) for number in self._run(MEND, names, arguments)))

    def record(self, tree: str, first: int, told: Sequence[bytes]) -> None:
        """Put on record what happened to a tree's children, numbered from ``first``; what is there already is passed over."""
        self._run(RECORD, (keys.told(tree),), [first, happenings.TOLD_MS, *told])

    def farewell(self, dispatcher: str) -> None:
        """A clean stop: give back what is under lease and deregister.

        Tasks that must not start twice stay under lease, because here nobody knows whether they did: the dispatcher's next
        incarnation, or its heir, settles them.
        """
        to_return = [
            Settlement(held.task_id, held.attempt, Move.GIVE_BACK, held.worker)
            for held, may_run_again in self._leases(dispatcher)
            if may_run_again
        ]
        self.settle(dispatcher, to_return)
        self._trip("deregister", lambda: self._deregister(dispatcher))

    def wakes(self) -> Wakes:
        """Hints that something was queued, on a connection of their own."""
        return Wakes(self._url)

    def _deregister(self, dispatcher: str) -> None:
        with self._client.pipeline(transaction=True) as pipe:
            pipe.hdel(keys.DISPATCHERS, dispatcher)
            pipe.delete(keys.workers(dispatcher), keys.claim(dispatcher))
            # silent since long ago: any lease left may be inherited at once
            pipe.zadd(keys.BEATS, {dispatcher: 0}, xx=True)
            pipe.execute()

    def _leases(self, dispatcher: str) -> list[tuple[Held, bool]]:
        """Each lease, and whether its task may start more than once.

        One that was put back (see mend.lua) has no worker: whether that one started it, nobody here knows.
        """
        found = self._trip("leases", lambda: self._client.hgetall(keys.leases(dispatcher)))
        numbers = cast("dict[bytes, bytes]", found)
        fields = ("worker", "digest", "attempt", "inherited", "limit")
        facts = self._values("held", [("HMGET", TASK + task_id, *fields) for task_id in numbers], is_strict=False)
        known = [(each if isinstance(each, list) else [None] * len(fields)) for each in facts]
        leases = [
            (records.lease_of(task_id, number, b"" if inherited == b"2" else worker, digest, attempt), limit != b"1")
            for (task_id, number), (worker, digest, attempt, inherited, limit) in zip(
                numbers.items(), known, strict=True
            )
        ]
        return [(held, may_run_again) for held, may_run_again in leases if held is not None]

    def _values(self, name: str, commands: Sequence[tuple[str | bytes, ...]], *, is_strict: bool = True) -> list[Any]:
        """Answers of plain commands, in one round trip; where not ``is_strict``, the errors of single ones in their places."""

        def talk() -> list[Any]:
            with self._client.pipeline(transaction=False) as pipe:
                ask: Callable[..., Any] = pipe.execute_command
                for command in commands:
                    ask(*command)
                return pipe.execute(raise_on_error=is_strict)

        return self._trip(name, talk) if commands else []

    def _run(self, script: Script, names: Sequence[str], arguments: Sequence[Argument]) -> Reply:
        def talk() -> Reply:
            try:
                return cast("Reply", self._client.evalsha(script.sha, len(names), *names, *arguments))
            except NoScriptError:
                return cast("Reply", self._client.eval(script.text, len(names), *names, *arguments))

        return self._trip(script.name, talk)


def round_trip(name: str, talk: Callable[[], T]) -> T:  # noqa: ARG001 (the name is that of its crash points)
    """One exchange with the server; no call of a Store speaks with it otherwise."""
    with translated():
        return talk()
