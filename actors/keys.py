"""Values: the names of everything that regrow keeps in Redis, drawn here once.

::

    function:<uuid>               string   JSON of a FunctionRecord: name, payload, digest ...; written last of its three
    {regrow}:function:<uuid>      hash     digest, max_attempts, terms, ttl, seal: what the submit script needs to know
    {regrow}:functions            zset     function id -> registered_at, for listing
    {regrow}:function_timers      zset     function id -> when it expires unless it is called again, Unix ms
    {regrow}:gone                 set      ids of expired functions whose official record is still to be deleted
    {regrow}:code:<digest>        string   a function's bytes
    {regrow}:users:<digest>       set      ids of the functions that have these bytes
    {regrow}:open                 hash     digest -> number of its tasks that have not ended: while there are any, the bytes stay

    {regrow}:task:<uuid>          hash     one task, see below
    {regrow}:queue                list     ids of QUEUED tasks, front = left; those that have ended meanwhile are ghosts, passed over
    {regrow}:scheduled            zset     id -> due, Unix ms: QUEUED tasks that wait for their time
    {regrow}:deadlines            zset     id -> when its time is over, Unix ms
    {regrow}:dead                 zset     id -> finished, Unix ms: failed tasks that keep their parameters (dead letters)
    {regrow}:leases:<dispatcher>  hash     id -> attempt of the RUNNING tasks of one dispatcher
    {regrow}:claim:<dispatcher>   hash     id and task ids of its last claim, so that a repeated claim is the same claim
    {regrow}:series:<dispatcher>  string   of its claims: the incarnation that runs now
    {regrow}:drops:<dispatcher>   set      "id attempt worker" of tasks that were cancelled while it had them
    {regrow}:counters             hash     what /metrics counts
    {regrow}:search               hash     by, until, not_before: whose search it is, and when the next may be; vanished, missing:
                                           the signs that the last one has looked into; leases:<dispatcher>: it is to read its leases

    {regrow}:events               stream   what has happened, the newest of it: see below

    {regrow}:beats                zset     dispatcher -> last sign of life, Unix ms of the store
    {regrow}:dispatchers          hash     dispatcher -> its DispatcherRecord in msgpack
    {regrow}:workers:<dispatcher> string   its WorkerRecords in msgpack

    {regrow}:told:<tree>          string   number of the last happening of a supervision tree that is in events

    {regrow}:wake                 channel  a hint: so many were queued; or "due": something waits for its time; or "drops"
    {regrow}:done                 channel  a hint: these ids ended, space-separated

Invariant: a task is in the queue, or scheduled, or in one dispatcher's leases, or has ended; never in two of them, never in none.
So the sum over ``open`` is that of the other three (the queue without its ghosts); where it is more, tasks are searched for.
All keys but ``function:<uuid>`` share one hash tag, so each script stays in one slot and is one atomic move.

Fields of a task: ``status function digest params size sum limit submitted attempt body seal`` from the submit, and where there is
any ``terms`` (its function's) ``limits expires deadline``; ``owner worker started`` from the newest claim; ``inherited``: 1 where
an heir took that attempt over, 2 where a search put it back, else 0 or not there; ``deaths lost ooms retried printed last kind
history`` from what failed; ``finished``, with ``value check`` or ``failure``, from the end, which also empties ``params`` (a dead
letter's stay) and sets the expiry. ``sum`` and ``check`` are the CRC-32 of ``params`` and ``value``, ``seal`` a digest of what no
move changes (see moves.lua). Times are Unix milliseconds of the store; ``history`` is a msgpack list of ``[number, worker,
started, ended, outcome]`` of the attempts that failed; the one in hand, or that the task was completed by, is ``attempt worker
started``. Redis keeps a hash whose fields have at most 64 bytes each in half the room, and is quicker with it: what we choose is
no longer.

An entry of ``events`` has ``kind`` "task" and ``moves``, a msgpack list of what one script made, five values for each move:
task id, move, attempt, worker, why (the entry's id is the store's time); or ``kind`` "child" and ``event``, a ChildEvent in
JSON; or ``kind`` "fault" and ``event``, a FaultEvent in JSON. ``why`` is a settlement's kind, and with "inherit" the dispatcher
that had been silent; "submit" has attempt 0 and no worker. About the last 10,000 entries are kept.

An idempotency key is kept nowhere: its task's id is made from it, so it lives as long as the record. ``body`` is a digest of
function, parameters and max_attempts, by which a repeated submit is told from another one under the same key; it is empty
where there is no key.
"""

from typing import Final

from regrow.actors.task import Digest, FunctionId, TaskId

FUNCTIONS: Final = "{regrow}:functions"
QUEUE: Final = "{regrow}:queue"
SCHEDULED: Final = "{regrow}:scheduled"
DEAD: Final = "{regrow}:dead"
GONE: Final = "{regrow}:gone"
FUNCTION_TIMERS: Final = "{regrow}:function_timers"
COUNTERS: Final = "{regrow}:counters"
EVENTS: Final = "{regrow}:events"
BEATS: Final = "{regrow}:beats"
DISPATCHERS: Final = "{regrow}:dispatchers"
WAKE: Final = "{regrow}:wake"
DONE: Final = "{regrow}:done"


def function(function_id: FunctionId) -> str:
    """The official record, open to other readers."""
    return f"function:{function_id}"


def function_facts(function_id: FunctionId) -> str:
    """The part of a function's record that scripts read."""
    return f"{{regrow}}:function:{function_id}"


def code(digest: Digest) -> str:
    """A function's bytes."""
    return f"{{regrow}}:code:{digest}"


def users(digest: Digest) -> str:
    """The functions that have these bytes."""
    return f"{{regrow}}:users:{digest}"


def drops(dispatcher: str) -> str:
    """What was cancelled while this dispatcher had it."""
    return f"{{regrow}}:drops:{dispatcher}"


def task(task_id: TaskId) -> str:
    """A task's record."""
    return f"{{regrow}}:task:{task_id}"


def leases(dispatcher: str) -> str:
    """What a dispatcher has under lease."""
    return f"{{regrow}}:leases:{dispatcher}"


def claim(dispatcher: str) -> str:
    """A dispatcher's last claim."""
    return f"{{regrow}}:claim:{dispatcher}"


def series(dispatcher: str) -> str:
    """Whose claims are answered: those of a dispatcher's present incarnation."""
    return f"{{regrow}}:series:{dispatcher}"


def told(tree: str) -> str:
    """How much of what happened in a supervision tree is on record."""
    return f"{{regrow}}:told:{tree}"


def workers(dispatcher: str) -> str:
    """The workers that are registered with a dispatcher."""
    return f"{{regrow}}:workers:{dispatcher}"
