"""Shell: the store as the gateway sees it: functions, submits, reads and news of endings, for asyncio.

The same keys, scripts, options and errors as ``store.py``; see there for what a call promises.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, Final, Self, cast

import msgspec
from redis import asyncio as redis
from redis.asyncio.client import PubSub
from redis.exceptions import NoScriptError, RedisError

from regrow.actors import keys, readings, records
from regrow.actors.aconnection import client_of, connected, translated
from regrow.actors.cancellation import raise_if_cancelled
from regrow.actors.connection import QUIET_S, TIMEOUT_S, options, retry_pause_s
from regrow.actors.facts import CHECKED_SETTINGS, StoreFacts, facts_of
from regrow.actors.readings import Counts, Letter
from regrow.actors.records import Argument, CancelVerdict, DispatcherRecord, Reply, SubmitVerdict
from regrow.actors.scripts import CANCEL, FORGET, MISSING, SUBMIT, Script
from regrow.actors.task import FunctionId, FunctionRecord, NewTask, TaskId, TaskRecord, WorkerRecord
from regrow.actors.wakes import Hint
from regrow.runtime.errors import StoreError

CONNECTIONS: Final = 16  # of one gateway process; a call above that waits for a free one
_encode_function = msgspec.json.Encoder().encode
_decode_function = msgspec.json.Decoder(FunctionRecord).decode


class Reconnected(msgspec.Struct, frozen=True):
    """The subscription has begun (anew): endings may have been missed, so whoever waits should read again."""


class AsyncStore:
    """The gateway's half of the store.  Every call may raise StoreUnavailable (repeat it) and StoreError."""

    def __init__(self, url: str, client: redis.Redis) -> None:
        self._url = url
        self._client = client

    @classmethod
    def connect(cls, url: str, timeout_s: float = TIMEOUT_S) -> Self:
        """A store at ``redis://``, ``rediss://`` or ``unix://``; nothing is sent yet.  Raises ConfigError for another URL."""
        return cls(url, client_of(url, CONNECTIONS, timeout_s))

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def ping(self) -> None:
        """Return if the store answers."""
        await self._values([("PING",)])

    async def check(self) -> StoreFacts:
        """What is at the other end.  Raises ConfigError, with the fix, for a server that could lose tasks."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for name in CHECKED_SETTINGS:
                    pipe.config_get(name)
                return facts_of(await self._client.info(), await pipe.execute(raise_on_error=False))

    async def vitals(self, settings: Sequence[str]) -> tuple[dict[str, Any], dict[str, str], float]:
        """INFO, those of ``settings`` that may be read, and the server's time in Unix seconds."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for name in settings:
                    pipe.config_get(name)
                found = await pipe.execute(raise_on_error=False)
            info = await self._client.info()
            seconds, micros = await self._client.time()
        readable = {name: value for answer in found if isinstance(answer, dict) for name, value in answer.items()}
        return info, readable, seconds + micros / 1e6

    async def put_function(self, record: FunctionRecord, code: bytes) -> None:
        """Keep a function.  The official record goes last: where it can be read, all of the function is there."""
        facts = records.facts_of_function(record)
        with translated():
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.set(keys.code(record.digest), code)
                pipe.sadd(keys.users(record.digest), record.function_id)
                pipe.hset(keys.function_facts(record.function_id), mapping=cast("Any", facts))
                if record.ttl_s is not None:
                    due_ms = int(1000 * (record.registered_at + record.ttl_s))
                    pipe.zadd(keys.FUNCTION_TIMERS, {record.function_id: due_ms})
                    pipe.publish(keys.WAKE, Hint.DUE)
                pipe.zadd(keys.FUNCTIONS, {record.function_id: record.registered_at})
                await pipe.execute()
            await self._client.set(keys.function(record.function_id), _encode_function(record))

    async def get_function(self, function_id: FunctionId) -> FunctionRecord | None:
        """A registered function, or ``None``.  Raises StoreError if its record is damaged."""
        with translated():
            found = await self._client.get(keys.function(function_id))
        return None if found is None else _function(cast("bytes", found))

    async def forget_function(self, function_id: FunctionId) -> bool:
        """Delete a function; whether there was one.  Its tasks that were accepted still run.  May be repeated."""
        with translated():
            was_shown = await self._client.delete(keys.function(function_id))
        (was_known,) = await self._run(FORGET, (), [function_id])
        return bool(was_shown or was_known)

    async def list_functions(self, limit: int, after: FunctionId | None = None) -> list[FunctionRecord]:
        """Up to ``limit`` functions, oldest first; ``after``: the last one of the page before.  Damaged ones are passed over."""
        start = 0
        with translated():
            if after is not None:
                rank = await self._client.zrank(keys.FUNCTIONS, after)
                if rank is None:
                    return []
                start = cast("int", rank) + 1
            ids = cast("list[bytes]", await self._client.zrange(keys.FUNCTIONS, start, start + limit - 1))
            found = (
                await self._client.mget([keys.function(FunctionId(name.decode(errors="replace"))) for name in ids])
                if ids
                else []
            )
        return [record for record in map(_readable_function, cast("list[bytes | None]", found)) if record is not None]

    async def submit(self, tasks: Sequence[NewTask], max_queued: int) -> list[SubmitVerdict]:
        """Write and queue tasks, each wholly or not at all; verdicts in their order.

        Repeating it submits nothing twice; the verdict is then REPEATED, whatever has become of the task.
        """
        verdicts: list[SubmitVerdict] = []
        for batch in records.batches(tasks, lambda task: len(task.params)):
            reply = await self._run(SUBMIT, (keys.QUEUE, keys.COUNTERS), records.submit_arguments(batch, max_queued))
            verdicts += [records.SUBMIT_VERDICTS[int(number)] for number in reply]
        return verdicts

    async def read(self, ids: Sequence[TaskId], *, with_result: bool) -> list[TaskRecord | None]:
        """Tasks as they stand, in one round trip; ``None`` for unknown ones.  Values and failures only ``with_result``."""
        fields = readings.TASK_FIELDS + (readings.RESULT_FIELDS if with_result else ())
        found = await self._values([("HMGET", keys.task(task_id), *fields) for task_id in ids])
        return [readings.task_of(task_id, values) for task_id, values in zip(ids, found, strict=True)]

    async def cancel(
        self, ids: Sequence[TaskId], retention_s: float, *, only_queued: bool = False
    ) -> list[CancelVerdict]:
        """End these tasks, as far as they have not ended: their attempts' outcomes are refused from here on."""
        verdicts: list[CancelVerdict] = []
        for batch in records.batches(ids, len):
            said: list[Argument] = [int(1000 * retention_s), records.CANCELLED, int(only_queued), *batch]
            verdicts += [records.CANCEL_VERDICTS[int(n)] for n in await self._run(CANCEL, (keys.COUNTERS,), said)]
        return verdicts

    async def letters(self, limit: int, after: TaskId | None = None) -> list[TaskId]:
        """Dead letters, newest first; ``after``: the last one of the page before, which may have gone since."""
        start = 0 if after is None else await self._rank_behind(after)
        (found,) = await self._values([("ZREVRANGE", keys.DEAD, str(start), str(start + limit - 1))])
        return [TaskId(name.decode(errors="replace")) for name in found]

    async def _rank_behind(self, letter: TaskId) -> int:
        """Where those begin that are older than this one.  Many end in the same millisecond, so its time alone does not tell."""
        rank, ended_ms = await self._values([("ZREVRANK", keys.DEAD, letter), ("HGET", keys.task(letter), "finished")])
        if rank is not None:
            return int(rank) + 1
        newer = "+inf" if ended_ms is None or not ended_ms.isdigit() else f"({ended_ms.decode()}"
        return int((await self._values([("ZCOUNT", keys.DEAD, newer, "+inf")]))[0])

    async def letter(self, task_id: TaskId) -> Letter | None:
        """What a dead letter was submitted with; ``None`` when there is no such letter."""
        fields, score = await self._values(
            [("HMGET", keys.task(task_id), *readings.LETTER_FIELDS), ("ZSCORE", keys.DEAD, task_id)]
        )
        return None if score is None else readings.letter_of(fields)

    async def discard(self, ids: Sequence[TaskId]) -> int:
        """These are letters no more, and lose their parameters; how many were."""
        with translated():
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.zrem(keys.DEAD, *ids)
                for task_id in ids:
                    pipe.hdel(keys.task(task_id), "params")
                return int((await pipe.execute())[0])

    async def dispatchers(self) -> list[DispatcherRecord]:
        """Every dispatcher that is registered, alive or silent; ``is_alive``: it has shown life within 3 s."""
        (seconds, micros), beats, found = await self._values(
            [("TIME",), ("ZRANGE", keys.BEATS, "0", "-1", "WITHSCORES"), ("HGETALL", keys.DISPATCHERS)]
        )
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        last_ms = {name.decode(errors="replace"): float(score) for name, score in beats}
        known = [one for one in map(readings.dispatcher_of, found.values()) if one is not None]
        return [
            msgspec.structs.replace(
                one,
                last_beat=last_ms[one.dispatcher] / 1000,
                is_alive=now_ms - last_ms[one.dispatcher] <= records.SILENT_MS,
            )
            for one in known
            if one.dispatcher in last_ms
        ]

    async def workers(self) -> list[WorkerRecord]:
        """Every worker that is registered with a dispatcher that is alive."""
        alive = [one.dispatcher for one in await self.dispatchers() if one.is_alive]
        lists = await self._values([("GET", keys.workers(dispatcher)) for dispatcher in alive])
        return [worker for blob in lists if blob is not None for worker in readings.workers_of(blob)]

    async def counts(self) -> Counts:
        """Tasks now, and totals."""
        counters, queued, scheduled, holders = await self._values(
            [
                ("HGETALL", keys.COUNTERS),
                ("LLEN", keys.QUEUE),
                ("ZCARD", keys.SCHEDULED),
                ("ZRANGE", keys.BEATS, "0", "-1"),
            ]
        )
        held = await self._values([("HLEN", keys.leases(name.decode(errors="replace"))) for name in holders])
        frames = sum(one.damaged_frames for one in await self.dispatchers())
        return readings.counts_of(counters, int(queued), int(scheduled), sum(held), frames)

    async def missing(self) -> tuple[int, int]:
        """How many open tasks are in no queue and under no lease, and how many of them a search did not find either."""
        count, given_up = await self._run(MISSING, (keys.QUEUE, keys.COUNTERS, keys.BEATS), [])
        return int(count), int(given_up)

    async def endings(self) -> AsyncGenerator[list[TaskId] | Reconnected]:
        """Endless: ids of tasks that ended, and a mark after each (re)connect.  Close it with ``aclosing``."""
        client = redis.Redis.from_url(self._url, **options(TIMEOUT_S))
        failures = 0
        try:
            while True:
                try:
                    with connected():
                        async with client.pubsub() as subscription, aclosing(_news(subscription)) as news:
                            async for item in news:
                                failures = 0
                                yield item
                except (RedisError, OSError):
                    raise_if_cancelled()
                    failures += 1
                    await asyncio.sleep(retry_pause_s(failures))
        finally:
            await client.aclose()

    async def _values(self, commands: Sequence[tuple[str, ...]]) -> list[Any]:
        """Answers of reads, in one round trip."""
        if not commands:
            return []
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                ask: Callable[..., Any] = pipe.execute_command
                for command in commands:
                    ask(*command, **({"withscores": True} if "WITHSCORES" in command else {}))
                return await pipe.execute()

    async def _run(self, script: Script, names: Sequence[str], arguments: Sequence[Argument]) -> Reply:
        with translated():
            try:
                reply = await self._client.evalsha(script.sha, len(names), *names, *arguments)
            except NoScriptError:
                reply = await self._client.eval(script.text, len(names), *names, *arguments)
        return cast("Reply", reply)


async def _news(subscription: PubSub) -> AsyncGenerator[list[TaskId] | Reconnected]:
    """Of one connection, until it fails or falls silent (RedisError)."""
    await subscription.subscribe(keys.DONE)
    is_asked = False
    while True:
        raise_if_cancelled()
        message = await subscription.get_message(timeout=QUIET_S)
        if message is None and is_asked:
            raise RedisError("a subscription does not answer")
        if message is None:
            await subscription.ping()
        elif message["type"] == "subscribe":
            yield Reconnected()
        elif message["type"] == "message":
            yield [TaskId(task_id) for task_id in message["data"].decode().split()]
        is_asked = message is None


def _readable_function(blob: bytes | None) -> FunctionRecord | None:
    try:
        return None if blob is None else _function(blob)
    except StoreError:
        return None


def _function(blob: bytes) -> FunctionRecord:
    try:
        return _decode_function(blob)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"a function's record in the store is damaged: {error}") from None
